"""The test signal of the parity check, and what PyTorch computes from it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bsmamba2.config import StftConfig
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.stft import inverse, spectrogram
from runtime.dsp.stft import Stft
from runtime.engine import manifest

Float = NDArray[np.float32]

SEED = 20260731


def signal_wave(stft: StftConfig | manifest.Stft, channels: int, frames: int) -> Float:
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


def signal_mixture(stft: StftConfig | manifest.Stft, channels: int, frames: int) -> Float:
    """Its spectrogram [1, t, f, c, 2]."""
    return Stft(stft.n_fft, stft.hop_length, stft.win_length, stft.normalized).forward(
        signal_wave(stft, channels, frames)
    )


def signal_input(stft: StftConfig | manifest.Stft, channels: int, frames: int, io: str) -> Float:
    """What an engine of the form `io` takes of it: the spectrogram or the waveform."""
    return (signal_mixture if io == "spectrum" else signal_wave)(stft, channels, frames)


def pytorch_stems(model: BandSplitSeparator, mixture: Float, io: str = "spectrum") -> Float:
    """[b, t, f, c, 2] -> [b, s, t, f, c, 2], or with PyTorch's own STFT [b, c, samples] -> [b, s, c, samples]."""
    with torch.inference_mode():
        given, stft = torch.from_numpy(mixture), model.config.stft
        stems = model(given) if io == "spectrum" else inverse(model(spectrogram(given, stft)), stft)
    out: Float = stems.numpy()
    return out
