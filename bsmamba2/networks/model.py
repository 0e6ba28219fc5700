"""`BandSplitSeparator`: BSMamba2 and BS-RoFormer, from the mixture's spectrogram to the stems' spectrograms.

Parameter names, their order and the values computed are those of EuiYeonKim/BSMamba2 @ 42eb8c8 (`BSModel`).
Axes: b batch, s stems, c audio channels, t frames, f bins, k sub-bands, d features.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bsmamba2.config import ModelConfig
from bsmamba2.networks.layers import RMSNorm
from bsmamba2.networks.mamba2 import Mamba2, MambaBlock
from bsmamba2.networks.precision import wide
from bsmamba2.networks.roformer import RotaryEmbedding, Transformer
from bsmamba2.networks.scan import scan_named

RECOMPUTED_POSITIONS = 1 << 13  # per step of a block: limits the memory for their gradient


class BandSplit(nn.Module):
    """Bins to sub-band features, each sub-band with its own norm and linear layer (paper III.A).

    [b, t, f, c, 2] -> [b, t, k, d]. The numbers of a sub-band are ordered by bin, channel, real or imaginary part.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.widths = [2 * config.channels * bins for bins in config.bands]
        self.to_features = nn.ModuleList(
            nn.Sequential(RMSNorm(width), nn.Linear(width, config.dim)) for width in self.widths
        )

    def forward(self, mixture: Tensor) -> Tensor:
        parts = mixture.flatten(2).split(self.widths, dim=-1)
        bands = []
        for to_features, part in zip(self.to_features, parts, strict=True):
            norm, linear = cast(nn.Sequential, to_features)
            bands.append(linear(norm(part).to(linear.weight.dtype)))  # the spectrogram is float32 at any precision
        return torch.stack(bands, dim=2)


class MaskEstimator(nn.Module):
    """Sub-band features to one stem's complex mask (paper III.C): [b, t, k, d] -> [b, t, f, c, 2]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.channels = config.channels
        hidden = config.dim * config.mask_expansion
        self.to_freqs = nn.ModuleList()
        for bins in config.bands:
            width = 2 * config.channels * bins
            sizes = [config.dim, *[hidden] * (config.mask_depth - 1), 2 * width]
            mlp = nn.Sequential()
            for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
                if i:
                    mlp.append(nn.Tanh())
                mlp.append(nn.Linear(fan_in, fan_out))
            self.to_freqs.append(nn.Sequential(mlp, nn.GLU(dim=-1)))

    def forward(self, features: Tensor) -> Tensor:
        mask = torch.cat([to(features[:, :, k]) for k, to in enumerate(self.to_freqs)], dim=-1)
        return mask.unflatten(-1, (-1, self.channels, 2))


class BandSplitSeparator(nn.Module):
    """The whole network: `mixture` [b, t, f, c, 2] -> `stems` [b, s, t, f, c, 2], real and imaginary last."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList()
        time_rotary = RotaryEmbedding(config.dim_head)
        band_rotary = RotaryEmbedding(config.dim_head)
        for _ in range(config.depth):
            along_time = Transformer(config, time_rotary) if config.kind == "transformer" else MambaBlock(config)
            along_bands = MambaBlock(config) if config.kind == "mamba2" else Transformer(config, band_rotary)
            self.layers.append(nn.ModuleList([along_time, along_bands]))
        self.final_norm = RMSNorm(config.dim)
        self.band_split = BandSplit(config)
        self.mask_estimators = nn.ModuleList(MaskEstimator(config) for _ in config.stems)
        self.recompute = False  # recompute activations for gradients instead of storing them

    def forward(self, mixture: Tensor) -> Tensor:
        masks = self.masks(self.dual_path(self.band_split(mixture)))
        return complex_product(masks, mixture[:, None])

    def dual_path(self, x: Tensor) -> Tensor:
        """All layers in sequence, [b, t, k, d] -> [b, t, k, d]."""
        for layer in self.layers:
            x = self.through(layer, x)
        return x

    def through(self, layer: nn.Module, x: Tensor) -> Tensor:
        """One layer, [b, t, k, d] -> [b, t, k, d]: along time within each sub-band, then along the sub-bands."""
        along_time, along_bands = cast(nn.ModuleList, layer)
        frames, bands = x.shape[1:3]
        x = self._run(along_time, x.transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, bands)).transpose(1, 2)
        return self._run(along_bands, x.flatten(0, 1)).unflatten(0, (-1, frames))

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        """`block` on sequences [m, l, d]; with `recompute`, on some of them at a time."""
        if not self.recompute:
            out: Tensor = block(x)
            return out
        parts = x.split(max(1, RECOMPUTED_POSITIONS // x.shape[1]))
        return torch.cat([cast(Tensor, checkpoint(block, part, use_reentrant=False)) for part in parts])

    def masks(self, x: Tensor) -> Tensor:
        """Output of the dual path [b, t, k, d] -> the complex mask of every stem [b, s, t, f, c, 2], float32."""
        features = self.final_norm(x)
        return wide(torch.stack([estimate(features) for estimate in self.mask_estimators], dim=1))

    def use_scan(self, name: str) -> BandSplitSeparator:
        """Choose the form of every Mamba2 scan by a name in `bsmamba2.networks.scan.SCANS`. Returns self."""
        scan, conv = scan_named(name)
        for module in self.modules():
            if isinstance(module, Mamba2):
                module.scan, module.conv = scan, conv
        return self


def complex_product(a: Tensor, b: Tensor) -> Tensor:
    """Product of complex numbers stored as (real, imaginary) in the last axis."""
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    imaginary = a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return torch.stack([real, imaginary], dim=-1)
