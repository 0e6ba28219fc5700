"""The loss of the paper, eq. (8), as in the official code, and the SDR for validation."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOWS = (4096, 2048, 1024, 512, 256)  # samples
HOP = 147  # samples
LEAST_N_FFT = 2048
TIME_WEIGHT = 10.0
DELTA = 1e-7  # keeps the SDR of silence finite


def separation_loss(estimate: Tensor, target: Tensor, hop_length: int = HOP) -> Tensor:
    """Scalar loss of `estimate` against `target`, both [b, s, c, samples], float32 or wider.

    10 * mean |e - t| over samples, plus, for each window length, mean |STFT(e) - STFT(t)| over bins and frames: the
    modulus of the complex difference (official `compute_losses`, EuiYeonKim/BSMamba2 @ 42eb8c8). The paper
    states sums of the norms; the code, and so the published networks, use means.
    """
    error = estimate - target
    loss = TIME_WEIGHT * error.abs().mean()
    flat = error.flatten(0, -2)  # the STFT is linear, so that of the difference suffices
    for window in WINDOWS:
        spectrum = torch.stft(
            flat,
            max(window, LEAST_N_FFT),
            hop_length,
            window,
            torch.hann_window(window, dtype=flat.dtype, device=flat.device),
            return_complex=True,
        )
        loss = loss + spectrum.abs().mean()
    return loss


def usdr(estimate: Tensor, target: Tensor) -> Tensor:
    """SDR in dB of every item, [b]: energy of `target` over that of the error, over stems, channels and samples.

    Both are [b, s, c, samples]. Source: official `compute_usdr`.
    """
    signal = target.square().flatten(1).sum(-1)
    error = (estimate - target).square().flatten(1).sum(-1)
    return 10 * torch.log10((signal + DELTA) / (error + DELTA))
