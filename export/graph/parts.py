"""The parts of a network that are traced by themselves: band split, blocks of the dual path, masks.

The blocks of one axis differ in their weights only, so that one template serves all layers. With value residual those
of the first layer are different: they give their values, and later ones take them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from bsmamba2.networks.model import BandSplitSeparator, complex_product
from bsmamba2.networks.precision import DTYPES
from bsmamba2.networks.roformer import Transformer
from export.graph.template import Template, template_of
from runtime.engine.manifest import Range

EXAMPLES = 31  # sequences to trace with: more than two slices (see export.graph.sliced), the last one not full


class Block(nn.Module):
    """A block of the dual path on sequences, [m, l, d] -> [m, l, d].

    With `gives` it also returns the values of its attention, [m, h, l, p]; with `takes` it is given those of the first
    layer.
    """

    def __init__(self, block: nn.Module, gives: bool = False, takes: bool = False) -> None:
        super().__init__()
        self.block = block
        self.gives, self.takes = gives, takes

    def forward(self, x: Tensor, first: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        if not (self.gives or self.takes):
            out: Tensor = self.block(x)
            return out
        out, values = cast(Transformer, self.block).with_values(x, first)
        return (out, values) if self.gives else out


class Masks(nn.Module):
    """[b, t, k, d], mixture [b, t, f, c, 2] -> stems [b, s, t, f, c, 2], and with `probed` the masks."""

    def __init__(self, model: BandSplitSeparator, probed: bool) -> None:
        super().__init__()
        self.model = model
        self.probed = probed

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        masks = self.model.masks(x)
        stems = complex_product(masks, mixture[:, None])
        return (stems, masks) if self.probed else stems


def blocks_of(model: BandSplitSeparator) -> Iterator[dict[str, Block]]:
    """The blocks of each layer in order, by the name of their template."""
    config = model.config
    for i, layer in enumerate(model.layers):
        *linear, along_time, along_bands = cast(nn.ModuleList, layer)
        gives, takes = config.value_residual and i == 0, config.value_residual and i > 0
        later = "_later" if takes else ""
        found = {"linear": Block(linear[0])} if config.linear_depth else {}
        yield found | {
            f"time{later}": Block(along_time, gives, takes),
            f"bands{later}": Block(along_bands, gives, takes),
        }


def parts_of(model: BandSplitSeparator) -> list[str]:
    """The names of the templates that `model` is put together from."""
    first, *_, last = *blocks_of(model), *blocks_of(model)  # these two have every kind of block
    return ["band_split", *{**first, **last}, "masks"]


def template_of_part(
    name: str, model: BandSplitSeparator, frames: Range, precision: str, probed: bool = False
) -> Template:
    """The template of one part of `model`, which is in the form that is exported. With `probed` it gives the masks."""
    config, narrow = model.config, DTYPES[precision]
    bands = len(config.bands)
    batch = torch.export.Dim("batch")
    length = torch.export.Dim("frames", min=frames.min, max=frames.max) if frames.min < frames.max else None
    whole: dict[int, object] = {0: batch} if length is None else {0: batch, 1: length}
    mixture = torch.zeros(2, frames.opt, config.stft.bins, config.channels, 2)
    if name == "band_split":
        return template_of(model.band_split, (mixture,), ["mixture"], ["features"], (whole,))
    if name == "masks":
        features = torch.zeros(2, frames.opt, bands, config.dim, dtype=narrow)
        outputs = ["stems", "mask"] if probed else ["stems"]
        masks = Masks(model, probed)
        return template_of(masks, (features, mixture), ["features", "mixture"], outputs, (whole, whole))

    block = next(blocks[name] for blocks in blocks_of(model) if name in blocks)
    axis = name.removesuffix("_later")
    size = {"linear": frames.opt * bands, "time": frames.opt, "bands": bands}[axis]
    sequences: dict[int, object] = {0: torch.export.Dim("sequences")}
    along: object = {"time": length, "bands": None}.get(axis, length and bands * length)
    example = [torch.zeros(EXAMPLES, size, config.dim, dtype=narrow)]
    shapes = [sequences if along is None else sequences | {1: along}]
    if block.takes:
        example.append(torch.zeros(EXAMPLES, config.heads, size, config.dim_head, dtype=narrow))
        shapes.append(sequences if along is None else sequences | {2: along})
    inputs, outputs = ["x", "first"][: len(example)], ["out", "values"] if block.gives else ["out"]
    return template_of(block, tuple(example), inputs, outputs, tuple(shapes))
