"""Running a block on a few sequences at a time, so that what it computes on the way stays small.

The dual path is many independent sequences: one along time for every sub-band, one along the sub-bands for every
frame. On a CPU the whole batch of them at once touches gigabytes; slices of it are faster and fit anywhere.
"""

from __future__ import annotations

from typing import cast

import onnx
import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from bsmamba2.networks.model import BandSplitSeparator

# Sequences a slice, measured on two cores with ONNX Runtime: one whole sequence along time (hundreds of frames), and
# about as many positions along the sub-bands (62).
ALONG_TIME, ALONG_BANDS = 1, 13


class Sliced(nn.Module):
    """`block` applied to `size` sequences at a time: [m, l, d] -> [m, l, d]. Becomes one ONNX Scan over the slices."""

    def __init__(self, block: nn.Module, size: int) -> None:
        super().__init__()
        self.block = block
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        sequences, length, dim = x.shape
        if self.size > 1:  # the last slice is filled up with zeros
            fill = (sequences + self.size - 1) // self.size * self.size - sequences
            x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, fill))

        def step(nothing: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
            return nothing.clone(), self.block(part)

        # torch's scan wants a state handed from step to step; there is none to hand.
        _, out = scan(step, torch.zeros(1, dtype=x.dtype), x.reshape(-1, self.size, length, dim))
        return out.reshape(-1, length, dim).narrow(0, 0, sequences)


def slice_dual_path(model: BandSplitSeparator) -> None:
    """Replace every block of the dual path by its sliced form."""
    for layer in model.layers:
        blocks = cast(nn.ModuleList, layer)
        blocks[0] = Sliced(blocks[0], ALONG_TIME)
        blocks[1] = Sliced(blocks[1], ALONG_BANDS)


def take_conv_weights_inside(model: onnx.ModelProto) -> None:
    """Move what the convolutions inside of Scans take from the outer graph into their bodies.

    ONNX Runtime gives a convolution its fast layout only where its weights stand in the same graph.
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
