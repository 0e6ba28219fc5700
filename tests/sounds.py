"""Odd sound files for tests: whole ones with one thing changed, and what is read of them."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.audio import open_song

FFMPEG = pytest.mark.needs("ffmpeg", "ffprobe")


def noise(samples: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """[samples, channels] that 16 bits hold exactly."""
    return np.random.default_rng(seed).integers(-20000, 20000, (samples, channels)) / 32768


TONE = 25  # Hz: that of the eighth channel passes where low frequencies only do


def tones(channels: int, rate: int, seconds: float = 1.0) -> np.ndarray:
    """[samples, channels] with a tone of TONE times its number, from 1, in each channel."""
    time = np.arange(int(seconds * rate)) / rate
    return 0.3 * np.stack([np.sin(2 * np.pi * TONE * (1 + channel) * time) for channel in range(channels)], axis=1)


def numbers(audio: np.ndarray, rate: int) -> list[int]:
    """Which of `tones` is in each channel of `audio`, [channels, samples]."""
    spectra = np.abs(np.fft.rfft(audio * np.hanning(audio.shape[1])))
    return [round(int(spectrum.argmax()) * rate / audio.shape[1] / TONE) for spectrum in spectra]


def encoded(audio: np.ndarray, rate: int, container: str, subtype: str, **options: object) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, audio, rate, format=container, subtype=subtype, **options)
    return out.getvalue()


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    """The song at `path`, [channels, samples], and what was noted of it."""
    with open_song(path) as song:
        return np.concatenate(list(song.blocks(10000)), axis=1), list(song.notes)


def run_ffmpeg(*arguments: object) -> None:
    """Skips the test where this ffmpeg has no such encoder."""
    command: Sequence[str] = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this ffmpeg cannot make {arguments[-1]}: {done.stderr.decode().strip()}")
