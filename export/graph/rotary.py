"""Rotary embeddings with constant tables: an engine's longest sequence is known, and so are its angles."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.roformer import Attention, RotaryEmbedding, rotated


class FixedRotary(nn.Module):
    """`RotaryEmbedding` for sequences of at most `length` positions."""

    cos: Tensor
    sin: Tensor

    def __init__(self, rotary: RotaryEmbedding, length: int) -> None:
        super().__init__()
        cos, sin = rotary.tables(length)
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-2]
        return rotated(x, self.cos[:length], self.sin[:length])


def fix_rotary(model: BandSplitSeparator, frames: int) -> None:
    """Replace every rotary embedding of `model` by one with tables, for at most `frames` frames."""
    bands = len(model.config.bands)
    for layer in model.layers:
        for block, length in zip(cast(nn.ModuleList, layer), (frames, bands), strict=True):
            for module in block.modules():
                if isinstance(module, Attention):
                    module.rotary_embed = FixedRotary(cast(RotaryEmbedding, module.rotary_embed), length)
