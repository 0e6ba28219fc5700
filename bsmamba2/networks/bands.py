"""Sub-bands: from the bins of a spectrogram to features of each sub-band, and from these back to masks of the bins."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks.layers import RMSNorm


class BandSplit(nn.Module):
    """Bins to sub-band features, each sub-band with its own norm and linear layer (paper III.A).

    [b, t, f, c, 2] -> [b, t, k, d]. The numbers of a sub-band are ordered by bin, channel, real or imaginary part.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.widths = [2 * config.channels * bins for bins in config.bands]
        self.positions = positions(config) if config.starts else None
        self.to_features = nn.ModuleList(
            nn.Sequential(RMSNorm(width), nn.Linear(width, config.dim)) for width in self.widths
        )

    def forward(self, mixture: Tensor) -> Tensor:
        parts = in_bands(mixture, self.positions).flatten(2).split(self.widths, dim=-1)
        bands = []
        for to_features, part in zip(self.to_features, parts, strict=True):
            norm, linear = cast(nn.Sequential, to_features)
            bands.append(linear(norm(part).to(linear.weight.dtype)))  # the spectrogram is float32 at any precision
        return torch.stack(bands, dim=2)


class MaskEstimator(nn.Module):
    """Sub-band features to one stem's complex mask (paper III.C): [b, t, k, d] -> [b, t, p, c, 2].

    p are the bins of the first sub-band, then those of the second, and so on: the f bins if no sub-bands overlap.
    """

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


def positions(config: ModelConfig) -> list[int]:
    """The bins of the first sub-band, then those of the second, and so on."""
    return [
        bin_
        for start, width in zip(config.first_bins, config.bands, strict=True)
        for bin_ in range(start, start + width)
    ]


def in_bands(mixture: Tensor, chosen: list[int] | None) -> Tensor:
    """[b, t, f, c, 2] -> [b, t, p, c, 2], the bins `chosen`; None: all of them once."""
    return mixture if chosen is None else mixture.index_select(2, torch.tensor(chosen, device=mixture.device))


class OverlapMean(nn.Module):
    """The mean of the masks of the sub-bands that hold a bin: [b, s, t, p, c, 2] -> [b, s, t, f, c, 2].

    `places` are the bins of the p positions; `bins` or more: a position that is not used. Source:
    lucidrains/BS-RoFormer, `MelBandRoformer`, which adds the masks up and divides by their number. Here each bin
    collects its one or more positions, which needs no addition into places.
    """

    def __init__(self, places: list[int], bins: int) -> None:
        super().__init__()
        of_bins: list[list[int]] = [[] for _ in range(bins)]
        for position, bin_ in enumerate(places):
            if bin_ < bins:
                of_bins[bin_].append(position)
        most = max(map(len, of_bins))
        # Rows of positions, one for each bin. A bin with fewer of them repeats its last one, with weight 0.
        self.rows = [[each[min(i, len(each) - 1)] for each in of_bins] for i in range(most)]
        self.weights = [[1 / len(each) if i < len(each) else 0.0 for each in of_bins] for i in range(most)]

    def forward(self, masks: Tensor) -> Tensor:
        mean = torch.zeros((), dtype=masks.dtype, device=masks.device)
        for row, weights in zip(self.rows, self.weights, strict=True):
            weight = torch.tensor(weights, dtype=masks.dtype, device=masks.device)[:, None, None]
            mean = mean + masks.index_select(3, torch.tensor(row, device=masks.device)) * weight
        return mean
