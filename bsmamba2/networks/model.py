"""`BandSplitSeparator`: BSMamba2, BS-RoFormer and Mel-Band RoFormer, from the mixture's spectrogram to the stems'.

Parameter names and the values computed are those of EuiYeonKim/BSMamba2 @ 42eb8c8 (`BSModel`), of lucidrains'
BS-RoFormer (PyPI bs-roformer 0.4.1 and 0.5.1) and of ZFTurbo/Music-Source-Separation-Training @ ccc011a.
Axes: b batch, s stems, c audio channels, t frames, f bins, k sub-bands, d features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bsmamba2.config import ModelConfig
from bsmamba2.networks.attention import Attention, LinearAttention, embedding
from bsmamba2.networks.bands import BandSplit, MaskEstimator, OverlapMean, positions
from bsmamba2.networks.layers import RMSNorm
from bsmamba2.networks.mamba2 import Mamba2, MambaBlock
from bsmamba2.networks.precision import wide
from bsmamba2.networks.roformer import Transformer
from bsmamba2.networks.scan import scan_named

# Positions of the sequences that a block processes at a time, where memory is to be saved. On a CPU a network of the
# published size is twice as fast with 2048 as with 8192, whose intermediate results leave the caches.
POSITIONS = 1 << 11
POSITIONS_ON_GPU = 1 << 13


class BandSplitSeparator(nn.Module):
    """The whole network: `mixture` [b, t, f, c, 2] -> `stems` [b, s, t, f, c, 2], real and imaginary last."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        biases = None
        if config.shared_bias:
            biases = nn.Parameter(torch.zeros(3 * config.inner)), nn.Parameter(torch.zeros(config.dim))
            self.linear_62_bias_0, self.linear_64_bias_0 = biases
        time_positions, band_positions = embedding(config), embedding(config)
        self.layers = nn.ModuleList()
        for i in range(config.depth):
            mixes = config.value_residual and i > 0
            of_time = partial(Attention, config, time_positions, biases, mixes)
            of_bands = partial(Attention, config, band_positions, biases, mixes)
            along_time, along_bands = config.kind == "transformer", config.kind != "mamba2"
            modules: list[nn.Module | None] = [None] if config.empty_slot else []
            if config.linear_depth:
                modules.append(Transformer(config, config.linear_depth, partial(LinearAttention, config)))
            modules.append(Transformer(config, config.time_depth, of_time) if along_time else MambaBlock(config))
            modules.append(Transformer(config, config.freq_depth, of_bands) if along_bands else MambaBlock(config))
            self.layers.append(nn.ModuleList(cast(list[nn.Module], modules)))
        self.final_norm = nn.Identity() if config.block_norm else RMSNorm(config.dim)
        self.band_split = BandSplit(config)
        self.mask_estimators = nn.ModuleList(MaskEstimator(config) for _ in config.stems)
        self.mean_of_overlaps = OverlapMean(positions(config), config.stft.bins) if config.starts else nn.Identity()
        self.recompute = False  # recompute activations for gradients instead of storing them
        self.lean = False  # blocks process some sequences at a time: the same results with less memory

    def forward(self, mixture: Tensor) -> Tensor:
        *_, x = self.dual_path(self.band_split(mixture))
        return complex_product(self.masks(x), mixture[:, None])

    def dual_path(self, x: Tensor) -> Iterator[Tensor]:
        """The output of every layer, from that of the band split: all [b, t, k, d]."""
        earlier: list[Tensor] = []  # outputs of the layers before
        values: tuple[Tensor | None, Tensor | None] = (None, None)  # of the first layer's attentions
        for layer in self.layers:
            *linear, along_time, along_bands = cast(nn.ModuleList, layer)
            frames, bands = x.shape[1:3]
            if self.config.linear_depth:
                x = self._run(linear[0], x.flatten(1, 2))[0].unflatten(1, (-1, bands))
            for output in earlier:
                x = x + output
            x, of_time = self._run(along_time, x.transpose(1, 2).flatten(0, 1), values[0])
            x = x.unflatten(0, (-1, bands)).transpose(1, 2)
            x, of_bands = self._run(along_bands, x.flatten(0, 1), values[1])
            x = x.unflatten(0, (-1, frames))
            if values[0] is None:
                values = of_time, of_bands
            if self.config.skip_connection:
                earlier.append(x)
            yield x

    def _run(self, block: nn.Module, x: Tensor, first: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """`block` on sequences [m, l, d], and with value residual its attention's values [m, h, l, p].

        `first` are those of the first layer. With `recompute` or `lean` only some sequences at a time.
        """
        with_values = self.config.value_residual
        call: Callable[..., Any] = cast(Transformer, block).with_values if with_values else block
        if self.recompute:
            call = partial(checkpoint, call, use_reentrant=False)
        inputs = (x,) if first is None else (x, first)
        if not (self.lean or self.recompute):
            return call(*inputs) if with_values else (call(x), None)
        size = max(1, (POSITIONS_ON_GPU if x.is_cuda else POSITIONS) // x.shape[1])
        outputs = [call(*parts) for parts in zip(*(each.split(size) for each in inputs), strict=True)]
        if with_values:
            out, values = (torch.cat(parts) for parts in zip(*outputs, strict=True))
            return out, values
        return torch.cat(outputs), None

    def masks(self, x: Tensor) -> Tensor:
        """Output of the dual path [b, t, k, d] -> the complex mask of every stem [b, s, t, f, c, 2], float32."""
        features = self.final_norm(x)
        masks = wide(torch.stack([estimate(features) for estimate in self.mask_estimators], dim=1))
        masks = self.mean_of_overlaps(masks)
        return F.pad(masks[:, :, :, 1:], (0, 0, 0, 0, 1, 0)) if self.config.zero_dc else masks

    def use_scan(self, name: str) -> BandSplitSeparator:
        """Choose the form of every Mamba2 scan by a name in `bsmamba2.networks.scan.SCANS`. Returns self."""
        form = scan_named(name)
        for module in self.modules():
            if isinstance(module, Mamba2):
                module.form = form
        return self


def complex_product(a: Tensor, b: Tensor) -> Tensor:
    """Product of complex numbers stored as (real, imaginary) in the last axis."""
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    imaginary = a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return torch.stack([real, imaginary], dim=-1)
