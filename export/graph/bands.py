"""Sub-bands of about equal width computed together: the same function, with a few large products instead of two a band.

The sub-bands of a group are made equally wide: with zeros, which the norm does not notice and whose weights are zero.
Where sub-bands do not overlap only those of equal width are a group, so that the bins stay side by side. The classes
keep the axes of the modules they replace; inside, products run on [n, b * t, ...] for the n sub-bands of a group: the
weights of each sub-band multiply one matrix.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks.bands import BandSplit, MaskEstimator, OverlapMean, in_bands
from bsmamba2.networks.layers import RMSNorm
from bsmamba2.networks.model import BandSplitSeparator

SLACK = 1.3  # widest to narrowest sub-band of a group, where they overlap: 60 mel bands become 10 groups


class Group(NamedTuple):
    """Neighbouring sub-bands: the first, how many, and the bins of the widest."""

    first: int
    number: int
    width: int


def groups_of(config: ModelConfig) -> list[Group]:
    """The sub-bands of a network in groups, low to high."""
    slack = SLACK if config.starts else 1.0
    found: list[list[int]] = []
    for width in config.bands:
        if found and max(*found[-1], width) <= slack * min(*found[-1], width):
            found[-1].append(width)
        else:
            found.append([width])
    lengths = list(map(len, found))
    return [Group(sum(lengths[:i]), lengths[i], max(widths)) for i, widths in enumerate(found)]


def places_of(config: ModelConfig, groups: list[Group]) -> list[int]:
    """The bin of every position of every group; for a position that only fills up, the number behind the last bin."""
    places: list[int] = []
    for group in groups:
        for band in range(group.first, group.first + group.number):
            start, width = config.first_bins[band], config.bands[band]
            places += [*range(start, start + width), *[config.stft.bins] * (group.width - width)]
    return places


class BatchedLinear(nn.Module):
    """One linear layer for each of n bands: [n, m, i] -> [n, m, o]. `weights` [o, i] and `biases` [o] of each."""

    is_product = True

    def __init__(self, weights: list[Tensor], biases: list[Tensor]) -> None:
        super().__init__()
        weight = torch.stack([each.T for each in weights])  # [n, i, o]
        # ONNX Runtime packs the weight of a product in advance if it is a matrix.
        self.weight = nn.Parameter(weight[0] if len(weights) == 1 else weight)
        self.bias = nn.Parameter(torch.stack(biases)[:, None])  # [n, 1, o]

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class GroupedBandSplit(nn.Module):
    """`BandSplit`, [b, t, f, c, 2] -> [b, t, k, d]."""

    def __init__(self, split: BandSplit, config: ModelConfig, groups: list[Group]) -> None:
        super().__init__()
        self.groups = groups
        self.places = places_of(config, groups) if config.starts else None
        self.norms, self.linears = nn.ModuleList(), nn.ModuleList()
        for first, number, width in groups:
            bands = [cast(nn.Sequential, band) for band in split.to_features[first : first + number]]
            size = 2 * config.channels * width
            norm = RMSNorm(size)
            gammas = [cast(RMSNorm, band[0]).gamma.detach() for band in bands]
            # The norm multiplies by the root of its size, which is not that of a narrower band.
            norm.gamma.data = torch.stack([filled(each * (len(each) / size) ** 0.5, size) for each in gammas])  # [n, i]
            linears = [cast(nn.Linear, band[1]) for band in bands]
            weights = [filled(each.weight.detach(), size) for each in linears]
            self.norms.append(norm)
            self.linears.append(BatchedLinear(weights, [each.bias.detach() for each in linears]))

    def forward(self, mixture: Tensor) -> Tensor:
        if self.places is not None:  # a bin of zeros behind the last one, to fill up with
            mixture = F.pad(mixture, (0, 0, 0, 0, 0, 1))
        sizes = [group.number * group.width for group in self.groups]
        out = []
        parts = in_bands(mixture, self.places).split(sizes, dim=2)
        for part, group, norm, linear in zip(parts, self.groups, self.norms, self.linears, strict=True):
            bands = norm(part.unflatten(2, (group.number, -1)).flatten(3)).flatten(0, 1)  # [b * t, n, i]
            out.append(linear(bands.transpose(0, 1).to(linear.weight.dtype)))
        return torch.cat(out).transpose(0, 1).unflatten(0, (-1, mixture.shape[1]))


class GroupedMaskEstimator(nn.Module):
    """`MaskEstimator`, [b, t, k, d] -> [b, t, p, c, 2], with the positions p of `places_of`."""

    def __init__(self, estimator: MaskEstimator, groups: list[Group]) -> None:
        super().__init__()
        self.channels = estimator.channels
        self.groups = groups
        self.mlps = nn.ModuleList()
        for first, number, width in groups:
            bands = [cast(nn.Sequential, each)[0] for each in estimator.to_freqs[first : first + number]]
            mlp = nn.Sequential()
            layers = [[layer for layer in band.children() if isinstance(layer, nn.Linear)] for band in bands]
            for depth, linears in enumerate(zip(*layers, strict=True)):
                weights = [each.weight.detach().T for each in linears]  # [i, o]
                biases = [each.bias.detach() for each in linears]
                if depth == len(layers[0]) - 1:
                    size = 2 * self.channels * width
                    weights, biases = ([in_halves(each, size) for each in both] for both in (weights, biases))
                if depth:
                    mlp.append(nn.Tanh())
                mlp.append(BatchedLinear([each.T for each in weights], biases))
            self.mlps.append(mlp.append(nn.GLU(dim=-1)))

    def forward(self, features: Tensor) -> Tensor:
        parts = features.flatten(0, 1).split([group.number for group in self.groups], dim=1)  # [b * t, n, d]
        out = [mlp(part.transpose(0, 1)).transpose(0, 1).flatten(1) for part, mlp in zip(parts, self.mlps, strict=True)]
        mask = torch.cat(out, dim=-1).unflatten(-1, (-1, self.channels, 2))
        return mask.unflatten(0, (-1, features.shape[1]))


def filled(x: Tensor, size: int) -> Tensor:
    """`x` with zeros up to `size` in the last axis."""
    return F.pad(x, (0, size - x.shape[-1]))


def in_halves(x: Tensor, size: int) -> Tensor:
    """The inputs of a GLU [..., 2 i], which are values and gates, with zeros up to `size` each: [..., 2 size]."""
    return filled(x.unflatten(-1, (2, -1)), size).flatten(-2)


def group_bands(model: BandSplitSeparator) -> None:
    """Replace the band split and the mask estimators of `model` by their grouped forms."""
    config = model.config
    groups = groups_of(config)
    model.band_split = GroupedBandSplit(model.band_split, config, groups)  # type: ignore[assignment]
    model.mask_estimators = nn.ModuleList(
        GroupedMaskEstimator(cast(MaskEstimator, estimator), groups) for estimator in model.mask_estimators
    )
    if config.starts:
        model.mean_of_overlaps = OverlapMean(places_of(config, groups), config.stft.bins)
