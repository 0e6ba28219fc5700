"""The transformer of BS-RoFormer: attention with rotary embeddings and gated heads, then a feed-forward network."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks.layers import RMSNorm


class RotaryEmbedding(nn.Module):
    """Rotates pairs (2i, 2i + 1) of q and k by position * 10000^(-2i / dim_head).

    Source: rotary-embedding-torch 0.6.4. `freqs` is a frozen parameter of the official state_dict; one
    embedding is shared by all modules along time, another by all along the sub-bands.
    """

    def __init__(self, dim_head: int) -> None:
        super().__init__()
        exponents = torch.arange(0, dim_head, 2).float() / dim_head
        self.freqs = nn.Parameter(10000.0**-exponents, requires_grad=False)

    def tables(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the angles of every position, [l, p / 2] each."""
        positions = torch.arange(length, dtype=self.freqs.dtype, device=self.freqs.device)
        angles = positions[:, None] * self.freqs
        return angles.cos(), angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        """x [b, h, l, p] -> the same, rotated by the position along l."""
        return rotated(x, *self.tables(x.shape[-2]))


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [b, h, l, p] with every pair rotated by the angles whose `cos` and `sin` [l, p / 2] are given."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Self-attention whose heads are each scaled by a sigmoid gate: [b, l, d] -> [b, l, d]."""

    def __init__(self, config: ModelConfig, rotary: RotaryEmbedding) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.dropout = config.attn_dropout
        self.rotary_embed: nn.Module = rotary
        self.norm = RMSNorm(config.dim)
        self.to_qkv = nn.Linear(config.dim, 3 * inner, bias=False)
        self.to_gates = nn.Linear(config.dim, config.heads)
        self.to_out = nn.Sequential(nn.Linear(inner, config.dim, bias=False), nn.Dropout(config.attn_dropout))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [b, h, l, p]
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(self.rotary_embed(q), self.rotary_embed(k), v, dropout_p=dropout)
        gates = self.to_gates(x).sigmoid().transpose(1, 2)[..., None]  # [b, h, l, 1]
        return self.to_out((y * gates).transpose(1, 2).flatten(-2))


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
    """x += attention(x); x += feed_forward(x): the official `Transformer` of one layer, no output norm."""

    def __init__(self, config: ModelConfig, rotary: RotaryEmbedding) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.ModuleList([Attention(config, rotary), FeedForward(config)])])

    def forward(self, x: Tensor) -> Tensor:
        attention, feed_forward = cast(nn.ModuleList, self.layers[0])
        x = x + attention(x)
        return x + feed_forward(x)
