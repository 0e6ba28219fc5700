"""Positions with constant tables: an engine's longest sequence is known, and so are its angles."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from bsmamba2.networks.attention import Attention, PolarEmbedding, RotaryEmbedding, polar, rotated
from bsmamba2.networks.model import BandSplitSeparator


class FixedEmbedding(nn.Module):
    """`RotaryEmbedding` or `PolarEmbedding` for sequences of at most `length` positions."""

    def __init__(self, embedding: RotaryEmbedding | PolarEmbedding, length: int) -> None:
        super().__init__()
        self.is_rotary = isinstance(embedding, RotaryEmbedding)
        self.names = []
        for i, each in enumerate(embedding.tables(length)):
            self.register_buffer(f"table_{i}", each.detach())
            self.names.append(f"table_{i}")

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        length = q.shape[-2]
        tables = tuple(cast(Tensor, self.get_buffer(name))[..., :length, :] for name in self.names)
        if self.is_rotary:
            cos, sin = tables
            return rotated(q, cos, sin), rotated(k, cos, sin)
        return polar(q, k, tables)


def fix_rotary(model: BandSplitSeparator, frames: int) -> None:
    """Replace the positions of every attention of `model` by tables, for at most `frames` frames."""
    bands = len(model.config.bands)
    for layer in model.layers:
        *_, along_time, along_bands = cast(nn.ModuleList, layer)
        for block, length in ((along_time, frames), (along_bands, bands)):
            fixed: nn.Module | None = None
            for module in block.modules():
                if isinstance(module, Attention):
                    if fixed is None:
                        fixed = FixedEmbedding(module.get_submodule(module.embedding_name), length)  # type: ignore[arg-type]
                    module.set_submodule(module.embedding_name, fixed)
