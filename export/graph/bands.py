"""Sub-bands of equal width computed together: the same function, with a few large products instead of two per band.

Both classes keep the input and output axes of the modules they replace; inside, products run on [b, n, t, ...] for the
n bands of a group.
"""

from __future__ import annotations

from itertools import groupby
from typing import cast

import torch
from torch import Tensor, nn

from bsmamba2.networks.bands import BandSplit, MaskEstimator, in_bands
from bsmamba2.networks.layers import RMSNorm
from bsmamba2.networks.model import BandSplitSeparator


class BatchedLinear(nn.Module):
    """One linear layer for each of n bands: [b, n, t, i] -> [b, n, t, o]."""

    is_product = True

    def __init__(self, layers: list[nn.Linear]) -> None:
        super().__init__()
        weight = torch.stack([layer.weight.detach().T for layer in layers])  # [n, i, o]
        # ONNX Runtime packs the weight of a product in advance if it is a matrix.
        self.weight = nn.Parameter(weight[0] if len(layers) == 1 else weight)
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers])[:, None])  # [n, 1, o]

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


def runs(widths: list[int]) -> list[tuple[int, int]]:
    """The first band and the number of bands of every run of equal widths."""
    lengths = [len(list(group)) for _, group in groupby(widths)]
    return list(zip([sum(lengths[:i]) for i in range(len(lengths))], lengths, strict=True))


class GroupedBandSplit(nn.Module):
    """`BandSplit`, [b, t, f, c, 2] -> [b, t, k, d]."""

    def __init__(self, split: BandSplit) -> None:
        super().__init__()
        self.positions = split.positions
        self.runs = runs(split.widths)
        self.widths = [number * split.widths[first] for first, number in self.runs]
        self.norms, self.linears = nn.ModuleList(), nn.ModuleList()
        for first, number in self.runs:
            bands = [cast(nn.Sequential, band) for band in split.to_features[first : first + number]]
            norm = RMSNorm(split.widths[first])
            norm.gamma.data = torch.stack([cast(RMSNorm, band[0]).gamma.detach() for band in bands])  # [n, i]
            self.norms.append(norm)
            self.linears.append(BatchedLinear([cast(nn.Linear, band[1]) for band in bands]))

    def forward(self, mixture: Tensor) -> Tensor:
        out = []
        parts = in_bands(mixture, self.positions).flatten(2).split(self.widths, dim=-1)
        for part, (_, number), norm, linear in zip(parts, self.runs, self.norms, self.linears, strict=True):
            bands = norm(part.unflatten(-1, (number, -1))).transpose(1, 2)  # [b, n, t, i]
            out.append(linear(bands.to(linear.weight.dtype)))
        return torch.cat(out, dim=1).transpose(1, 2)


class GroupedMaskEstimator(nn.Module):
    """`MaskEstimator`, [b, t, k, d] -> [b, t, p, c, 2]."""

    def __init__(self, estimator: MaskEstimator) -> None:
        super().__init__()
        self.channels = estimator.channels
        mlps = [cast(nn.Sequential, cast(nn.Sequential, band)[0]) for band in estimator.to_freqs]
        self.runs = runs([cast(nn.Linear, mlp[-1]).out_features for mlp in mlps])
        self.mlps = nn.ModuleList()
        for first, number in self.runs:
            grouped = nn.Sequential()
            for position, layer in enumerate(mlps[first]):
                if isinstance(layer, nn.Linear):
                    grouped.append(
                        BatchedLinear([cast(nn.Linear, mlp[position]) for mlp in mlps[first : first + number]])
                    )
                else:
                    grouped.append(layer)
            self.mlps.append(grouped.append(nn.GLU(dim=-1)))

    def forward(self, features: Tensor) -> Tensor:
        bands = features.transpose(1, 2)  # [b, k, t, d]
        out = []
        for (first, number), mlp in zip(self.runs, self.mlps, strict=True):
            mask = mlp(bands[:, first : first + number])  # [b, n, t, i]
            out.append(mask.transpose(1, 2).flatten(2))
        return torch.cat(out, dim=-1).unflatten(-1, (-1, self.channels, 2))


def group_bands(model: BandSplitSeparator) -> None:
    """Replace the band split and the mask estimators of `model` by their grouped forms."""
    model.band_split = GroupedBandSplit(model.band_split)  # type: ignore[assignment]
    model.mask_estimators = nn.ModuleList(
        GroupedMaskEstimator(cast(MaskEstimator, estimator)) for estimator in model.mask_estimators
    )
