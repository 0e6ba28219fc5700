"""Attention of BS-RoFormer and Mel-Band RoFormer: gated heads with rotary or PoPE positions, and linear attention."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks.layers import RMSNorm
from bsmamba2.networks.precision import wide


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
        return table(self.freqs, length)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q and k [b, h, l, p] -> the same, rotated by the position along l."""
        cos, sin = self.tables(q.shape[-2])
        return rotated(q, cos, sin), rotated(k, cos, sin)


class PolarEmbedding(nn.Module):
    """PoPE: the magnitudes softplus(q) and softplus(k) at angles position * inv_freqs, plus a trained bias for k.

    Source: PoPE-pytorch 0.2.1. The product of q and k is that of complex numbers in polar form, so that their features
    become p cosines and p sines. Shared like `RotaryEmbedding`.
    """

    def __init__(self, dim_head: int, heads: int) -> None:
        super().__init__()
        exponents = torch.arange(dim_head).float() / dim_head
        self.inv_freqs = nn.Parameter(10000.0**-exponents, requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(heads, dim_head))

    def tables(self, length: int) -> tuple[Tensor, ...]:
        """Cosine and sine of the angles of q, [l, p] each, and of those of k, [h, l, p] each."""
        bias = self.bias.clamp(-2 * math.pi, 0)[:, None]
        angles = positions(self.inv_freqs, length)
        return angles.cos(), angles.sin(), (angles + bias).cos(), (angles + bias).sin()

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q and k [b, h, l, p] -> [b, h, l, 2 p]."""
        return polar(q, k, self.tables(q.shape[-2]))


def embedding(config: ModelConfig) -> nn.Module:
    """The positions of one axis."""
    return PolarEmbedding(config.dim_head, config.heads) if config.pope else RotaryEmbedding(config.dim_head)


def positions(freqs: Tensor, length: int) -> Tensor:
    """The angle of every position at every frequency, [l, n]."""
    return torch.arange(length, dtype=freqs.dtype, device=freqs.device)[:, None] * freqs


def table(freqs: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of these angles."""
    angles = positions(freqs, length)
    return angles.cos(), angles.sin()


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [b, h, l, p] with every pair rotated by the angles whose `cos` and `sin` [l, p / 2] are given."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)


def polar(q: Tensor, k: Tensor, tables: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """q and k [b, h, l, p] -> [b, h, l, 2 p], by the tables of `PolarEmbedding`."""
    cos_q, sin_q, cos_k, sin_k = tables
    far_q, far_k = F.softplus(wide(q)), F.softplus(wide(k))
    turned_q = torch.cat([far_q * cos_q, far_q * sin_q], dim=-1)
    return turned_q.to(q.dtype), torch.cat([far_k * cos_k, far_k * sin_k], dim=-1).to(k.dtype)


class Attention(nn.Module):
    """Self-attention whose heads are each scaled by a sigmoid gate: [b, l, d] -> [b, l, d].

    `biases` are those that all attentions of a network share, of `to_qkv` and `to_out`. With `mixes_values` the values
    are mixed with those of the first layer, by a trained share for each position and head.
    """

    def __init__(
        self,
        config: ModelConfig,
        embedding: nn.Module,
        biases: tuple[nn.Parameter, nn.Parameter] | None = None,
        mixes_values: bool = False,
    ) -> None:
        super().__init__()
        self.embedding_name = "pope_embed" if config.pope else "rotary_embed"
        self.add_module(self.embedding_name, embedding)
        self.heads = config.heads
        self.dropout = config.attn_dropout
        self.norm = RMSNorm(config.dim)
        self.to_qkv = nn.Linear(config.dim, 3 * config.inner, bias=False)
        self.to_gates = nn.Linear(config.dim, config.heads)
        self.to_out = nn.Sequential(nn.Linear(config.inner, config.dim, bias=False), nn.Dropout(config.attn_dropout))
        if biases is not None:
            self.to_qkv.bias, cast(nn.Linear, self.to_out[0]).bias = biases
        if mixes_values:
            self.to_value_residual_mix = nn.Linear(config.dim, config.heads)
        self.mixes_values = mixes_values

    def forward(self, x: Tensor) -> Tensor:
        return self.with_values(x)[0]

    def with_values(self, x: Tensor, first: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The result and this attention's own values [b, h, l, p]; `first` are those of the first layer."""
        x = self.norm(x)
        q, k, own = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [b, h, l, p]
        v = own
        if self.mixes_values and first is not None:
            share = self.to_value_residual_mix(x).sigmoid().transpose(1, 2)[..., None]  # [b, h, l, 1]
            v = own + share * (first - own)
        dropout = self.dropout if self.training else 0.0
        scale = q.shape[-1] ** -0.5  # also where PoPE doubles the features
        q, k = self.get_submodule(self.embedding_name)(q, k)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)
        gates = self.to_gates(x).sigmoid().transpose(1, 2)[..., None]  # [b, h, l, 1]
        return self.to_out((y * gates).transpose(1, 2).flatten(-2)), own


class LinearAttention(nn.Module):
    """Attention between features instead of positions, without gates: [b, l, d] -> [b, l, d].

    Source: lucidrains/BS-RoFormer, `LinearAttention` (El-Nouby et al. 2021). Each feature of q and k is a vector along
    all l positions, of length 1.
    """

    SCALE = 8

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = RMSNorm(config.dim)
        self.temperature = nn.Parameter(torch.zeros(config.heads, 1, 1))
        # The original has rearrangements in the sequences, which number the linear layers.
        self.to_qkv = nn.Sequential(nn.Linear(config.dim, 3 * config.inner, bias=False))
        self.to_out = nn.Sequential(nn.Identity(), nn.Linear(config.inner, config.dim, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 4, 1)  # [b, h, p, l]
        q, k = unit(q) * self.temperature.exp(), unit(k)
        weights = (self.SCALE * (q @ k.transpose(-1, -2))).softmax(-1).to(v.dtype)  # [b, h, p, p]
        return self.to_out((weights @ v).permute(0, 3, 1, 2).flatten(-2))


def unit(x: Tensor) -> Tensor:
    """x / max(||x||, 1e-12) over the last axis, in float32."""
    x = wide(x)
    return x / x.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-12)
