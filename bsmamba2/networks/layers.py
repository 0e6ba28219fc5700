"""The norm of all parts of the network except Mamba2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bsmamba2.networks.precision import wide


class RMSNorm(nn.Module):
    """x / max(||x||, 1e-12) * sqrt(d) * gamma over the last axis d; a zero vector stays zero.

    Source: official `RMSNorm` (F.normalize: the epsilon clamps the norm, it is not added).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        v = wide(x)
        norm = v.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-12)
        return (v / norm * (self.gamma.shape[-1] ** 0.5 * self.gamma)).to(x.dtype)
