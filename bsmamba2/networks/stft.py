"""STFT and inverse STFT in PyTorch, with the conventions of the official code.

Periodic Hann window, centred, reflect padding, one-sided (EuiYeonKim/BSMamba2 @ 42eb8c8).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bsmamba2.config import StftConfig


def spectrogram(wave: Tensor, stft: StftConfig) -> Tensor:
    """[b, c, samples] -> [b, t, f, c, 2]."""
    window = torch.hann_window(stft.win_length, dtype=wave.dtype, device=wave.device)
    flat = torch.stft(
        wave.flatten(0, 1),
        stft.n_fft,
        stft.hop_length,
        stft.win_length,
        window=window,
        center=True,
        pad_mode=stft.pad_mode,
        normalized=stft.normalized,
        return_complex=True,
    )  # [b * c, f, t]
    return torch.view_as_real(flat.unflatten(0, wave.shape[:2]).permute(0, 3, 2, 1))


def inverse(stems: Tensor, stft: StftConfig) -> Tensor:
    """[b, s, t, f, c, 2] -> [b, s, c, hop_length * (t - 1)]."""
    spectra = torch.view_as_complex(stems.contiguous()).permute(0, 1, 4, 3, 2)  # [b, s, c, f, t]
    window = torch.hann_window(stft.win_length, dtype=stems.dtype, device=stems.device)
    lengths = stft.n_fft, stft.hop_length, stft.win_length
    waves = torch.istft(spectra.flatten(0, 2), *lengths, window=window, center=True, normalized=stft.normalized)
    return waves.unflatten(0, spectra.shape[:3])
