"""The dual path as a graph: the blocks of every layer, and what turns the features for the axis of each.

The same order of operations as `BandSplitSeparator.dual_path`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bsmamba2.networks.model import BandSplitSeparator
from export.graph.assembly import Assembly
from export.graph.parts import blocks_of
from export.graph.template import Template


def add_dual_path(
    graph: Assembly, model: BandSplitSeparator, templates: Mapping[str, Template], features: str, length: int | str
) -> list[str]:
    """Add every layer of `model`; `features` [b, t, k, d] is the output of the band split. Returns their outputs.

    `length` is the number of frames, or the name of their dynamic axis.
    """
    bands, dim = len(model.config.bands), model.config.dim
    frames = length if isinstance(length, int) else graph.node("Shape", [features], "frames", start=1, end=2)
    along_time = _shape(graph, "shape_along_time", -1, frames, dim)
    of_bands = _shape(graph, "shape_of_bands", -1, bands, frames, dim)
    along_bands = _shape(graph, "shape_along_bands", -1, bands, dim)
    of_frames = _shape(graph, "shape_of_frames", -1, frames, bands, dim)

    x, layers = features, list[str]()
    values: dict[str, str] = {}  # of the first layer's attentions, by axis
    for i, blocks in enumerate(blocks_of(model)):
        prefix = f"layers.{i}."

        def reshaped(x: str, shape: str, what: str, prefix: str = prefix) -> str:
            return graph.node("Reshape", [x, shape], prefix + what)

        def turned(x: str, what: str, prefix: str = prefix) -> str:
            return graph.node("Transpose", [x], prefix + what, perm=[0, 2, 1, 3])

        for name, block in blocks.items():
            axis = name.removesuffix("_later")
            if axis == "linear":
                x = reshaped(x, _shape(graph, "shape_as_one", 0, -1, dim), "linear.x")
            elif axis == "time":
                for j, output in enumerate(layers if model.config.skip_connection else []):
                    x = graph.node("Add", [x, output], f"{prefix}skip.{j}")
                x = reshaped(turned(x, "time.turned"), along_time, "time.x")
            else:
                x = reshaped(x, along_bands, "bands.x")
            inputs, outputs = [x], [f"{prefix}{axis}.out"]
            if block.takes:
                inputs.append(values[axis])
            if block.gives:
                values[axis] = f"{prefix}{axis}.values"
                outputs.append(values[axis])
            graph.place(templates[name], block, f"{prefix}{axis}.", inputs, outputs)
            x = outputs[0]
            if axis == "time":
                x = turned(reshaped(x, of_bands, "time.bands"), "time.back")
            else:
                x = reshaped(x, of_frames, f"{axis}.frames")
        layers.append(x)
    return layers


def _shape(graph: Assembly, name: str, *sizes: int | str) -> str:
    """The name of a tensor with these sizes; a size that is a name is that of a tensor [1]."""
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) == len(sizes):
        return graph.constant(name, np.array(known))
    parts = [each if isinstance(each, str) else graph.constant(f"size_{each}", np.array([each])) for each in sizes]
    return graph.node("Concat", parts, name, axis=0)
