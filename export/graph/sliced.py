"""Run a block on a few sequences at a time, so that its intermediate results stay small.

The dual path processes many independent sequences: one along time per sub-band, one along the sub-bands per frame. On a
CPU, all of them at once would need gigabytes of memory; slices of them are faster and need little.
"""

from __future__ import annotations

from typing import cast

import onnx
import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.roformer import Transformer

# Sequences per slice, measured with ONNX Runtime on two cores: one sequence along time (hundreds of frames), or as many
# along the sub-bands (62 each) as give about the same number of positions.
ALONG_TIME, ALONG_BANDS = 1, 13


class Sliced(nn.Module):
    """`block` applied to `size` sequences at a time, [m, l, d] -> [m, l, d]: one ONNX Scan over the slices."""

    def __init__(self, block: nn.Module, size: int) -> None:
        super().__init__()
        self.block = block
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        def step(unused: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
            return unused.clone(), self.block(part)

        _, out = scan(step, self._unused(x), self._in_slices(x))
        # The length of the input: what the exporter knows of the output's may be an expression.
        return out.reshape(-1, *x.shape[1:]).narrow(0, 0, x.shape[0])

    def with_values(self, x: Tensor, first: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`Transformer.with_values`, with values [m, h, l, p]."""
        block = cast(Transformer, self.block)

        def step(unused: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            return unused.clone(), block.with_values(*parts)

        inputs = (x,) if first is None else (x, first)
        _, outs = scan(step, self._unused(x), tuple(map(self._in_slices, inputs)))
        out, values = (each.reshape(-1, *each.shape[2:]).narrow(0, 0, x.shape[0]) for each in outs)
        return out, values

    def _unused(self, x: Tensor) -> Tensor:
        """torch's scan requires a state; slices are independent, so this one is not used."""
        return torch.zeros(1, dtype=x.dtype)

    def _in_slices(self, x: Tensor) -> Tensor:
        """[m, ...] -> [slices, size, ...], the last slice padded with zeros."""
        if self.size > 1:
            fill = (x.shape[0] + self.size - 1) // self.size * self.size - x.shape[0]
            x = torch.nn.functional.pad(x, (*[0, 0] * (x.ndim - 1), 0, fill))
        return x.reshape(-1, self.size, *x.shape[1:])


def slice_dual_path(model: BandSplitSeparator) -> None:
    """Replace every block of the dual path by its sliced form."""
    for layer in model.layers:
        blocks = cast(nn.ModuleList, layer)
        if model.config.linear_depth:
            blocks[0] = Sliced(blocks[0], 1)  # an item of the batch
        blocks[-2] = Sliced(blocks[-2], ALONG_TIME)
        blocks[-1] = Sliced(blocks[-1], ALONG_BANDS)


def take_conv_weights_inside(model: onnx.ModelProto) -> None:
    """Move the weights of convolutions inside of Scans from the outer graph into the Scan bodies.

    ONNX Runtime uses the fast layout of a convolution only if its weights are in the same graph.
    """
    outside = {tensor.name: tensor for tensor in model.graph.initializer}
    moved = set()
    for scan_node in model.graph.node:
        for body in (each.g for each in scan_node.attribute if each.name == "body"):
            names = {name for node in body.node if node.op_type == "Conv" for name in node.input[1:]}
            for name in sorted(names & set(outside)):
                body.initializer.append(outside[name])
                moved.add(name)
    for name in sorted(moved):
        model.graph.initializer.remove(outside[name])
