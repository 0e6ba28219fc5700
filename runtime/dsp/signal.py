"""The test signal of every parity check: always the same, for an STFT, a number of channels and of frames."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.dsp.stft import Stft

Float = NDArray[np.float32]

SEED = 20260731


class Sizes(Protocol):
    """An STFT as a manifest or a network's configuration describes it: samples, and the rate in Hz."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def n_fft(self) -> int: ...

    @property
    def win_length(self) -> int: ...

    @property
    def hop_length(self) -> int: ...

    @property
    def normalized(self) -> bool: ...


def signal_wave(stft: Sizes, channels: int, frames: int) -> Float:
    """A waveform [1, c, samples], always the same, with tones, noise, loud and soft parts and silence, like music."""
    samples = (frames - 1) * stft.hop_length
    rng = np.random.default_rng(SEED)
    time = np.arange(samples) / stft.sample_rate
    position = np.linspace(0, 1, samples)
    wave = np.empty((channels, samples))
    for channel in wave:
        pitch = rng.uniform(110, 440)
        vibrato = 1 + 0.01 * np.sin(2 * np.pi * 5.5 * time)
        tone = sum(np.sin(2 * np.pi * pitch * k * np.cumsum(vibrato) / stft.sample_rate) / k for k in range(1, 20))
        noise = rng.standard_normal(samples)
        channel[:] = 0.2 * tone * (np.sin(2 * np.pi * 3 * position) > 0) + 0.1 * noise * (0.05 + position)
    wave[:, int(0.4 * samples) : int(0.5 * samples)] = 0
    return wave[None].astype(np.float32)


def signal_mixture(stft: Sizes, channels: int, frames: int) -> Float:
    """Its spectrogram [1, t, f, c, 2]."""
    return Stft(stft.n_fft, stft.hop_length, stft.win_length, stft.normalized).forward(
        signal_wave(stft, channels, frames)
    )


def signal_input(stft: Sizes, channels: int, frames: int, io: str) -> Float:
    """What an engine of the form `io` takes of it: the spectrogram or the waveform."""
    return (signal_mixture if io == "spectrum" else signal_wave)(stft, channels, frames)
