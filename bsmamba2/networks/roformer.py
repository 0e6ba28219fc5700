"""The transformer of BS-RoFormer and Mel-Band RoFormer: attention and a feed-forward network, some times in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks.attention import Attention
from bsmamba2.networks.layers import RMSNorm


class FeedForward(nn.Module):
    """RMSNorm, Linear, exact GELU, Linear: [b, l, d] -> [b, l, d]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden = config.dim * config.ff_expansion
        self.net = nn.Sequential(
            RMSNorm(config.dim),
            nn.Linear(config.dim, hidden),
            nn.GELU(),
            nn.Dropout(config.ff_dropout),
            nn.Linear(hidden, config.dim),
            nn.Dropout(config.ff_dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Transformer(nn.Module):
    """x += attention(x); x += feed_forward(x), `depth` times, then a norm if the network has one here.

    [b, l, d] -> [b, l, d]. `attention` makes a new one.
    """

    def __init__(self, config: ModelConfig, depth: int, attention: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([attention(), FeedForward(config)]) for _ in range(depth))
        self.norm = RMSNorm(config.dim) if config.block_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            attention, feed_forward = cast(nn.ModuleList, layer)
            x = x + attention(x)
            x = x + feed_forward(x)
        out: Tensor = self.norm(x)
        return out

    def with_values(self, x: Tensor, first: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The result and the values of its first attention [b, h, l, p]; `first` are those of the first layer."""
        own: list[Tensor] = []
        for layer in self.layers:
            attention, feed_forward = cast(nn.ModuleList, layer)
            y, values = cast(Attention, attention).with_values(x, first)
            own.append(values)
            x = x + y
            x = x + feed_forward(x)
        return self.norm(x), own[0]
