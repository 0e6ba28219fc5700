"""The two directions of a Mamba2 block one after the other, so that a plan needs half of the memory.

They are independent, so TensorRT's builder runs them side by side and keeps the intermediate results of both. Here the
input of the backward direction depends on the output of the forward one, which is multiplied by 0.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from bsmamba2.networks.mamba2 import MambaBlock
from bsmamba2.networks.model import BandSplitSeparator


class InTurn(nn.Module):
    """`MambaBlock`, [m, l, d] -> [m, l, d]."""

    def __init__(self, block: MambaBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        ahead = self.block.forward_blocks[0](x)
        back = self.block.backward_blocks[0](x + 0 * ahead, reverse=True)
        return x + self.block.linear(torch.cat([ahead, back], dim=-1))


def take_turns(model: BandSplitSeparator) -> None:
    """Replace every Mamba2 block of `model` by this form."""
    for layer in model.layers:
        blocks = cast(nn.ModuleList, layer)
        for i, block in enumerate(blocks):
            if isinstance(block, MambaBlock):
                blocks[i] = InTurn(block)
