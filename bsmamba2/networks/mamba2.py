"""Mamba2 and the bidirectional block of the dual path (paper III.B)."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks.precision import wide
from bsmamba2.networks.scan import scan_named

EPS = 1e-5  # for both norms below


class MeanSquareNorm(nn.Module):
    """x / sqrt(mean(x^2) + 1e-5) * weight over the last axis (mamba_ssm v2.2.2, `rms_norm_ref`)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        v = wide(x)
        return (v * torch.rsqrt(v.square().mean(-1, keepdim=True) + EPS) * self.weight).to(x.dtype)


class GatedNorm(MeanSquareNorm):
    """`MeanSquareNorm` of y * silu(z): gate first, then norm."""

    def forward(self, y: Tensor, z: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(wide(y) * F.silu(wide(z))).to(y.dtype)


class Mamba2(nn.Module):
    """One causal mixer, [b, l, d] -> [b, l, d] (mamba_ssm v2.2.2 `Mamba2`, ngroups 1, no dt limit).

    With `reverse`, for which `form` must be a whole one, it runs from the last position to the first.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inner = config.dim * config.expand
        heads = inner // config.headdim
        conv_dim = inner + 2 * config.d_state
        self.sizes = (inner, conv_dim, heads)
        self.inner_sizes = (inner, config.d_state, config.d_state)
        self.headdim = config.headdim
        self.form = scan_named("chunked")

        # Initial A in [1, 16] and dt log-uniform in [1e-3, 0.1], as mamba_ssm draws them.
        dt = torch.exp(torch.rand(heads) * math.log(0.1 / 1e-3) + math.log(1e-3)).clamp(min=1e-4)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus of it is dt
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.in_proj = nn.Linear(config.dim, sum(self.sizes), bias=False)
        self.conv1d = nn.Conv1d(conv_dim, conv_dim, config.d_conv, groups=conv_dim)
        self.norm = GatedNorm(inner)
        self.out_proj = nn.Linear(inner, config.dim, bias=False)

    def forward(self, u: Tensor, reverse: bool = False) -> Tensor:
        form, direction = self.form, {"reverse": reverse} if self.form.is_whole else {}
        z, xbc, dt = self.in_proj(u).split(self.sizes, dim=-1)
        xbc = form.conv(xbc, self.conv1d.weight, cast(Tensor, self.conv1d.bias), **direction)
        x, b, c = xbc.split(self.inner_sizes, dim=-1)
        x = x.unflatten(-1, (-1, self.headdim))  # [b, l, h, p]
        dt, a = F.softplus(wide(dt) + self.dt_bias), -torch.exp(self.A_log)
        if form.is_whole:
            y = form.scan(x, dt, a, b, c, self.D, **direction)
        else:
            y = form.scan(x, dt, a, b, c) + (self.D[:, None] * x).to(x.dtype)
        return self.out_proj(self.norm(y.flatten(-2), z))


class ResidualMixer(nn.Module):
    """x + mixer(norm(x)): the `Block` of mamba_ssm without its MLP. `reverse`: from the last position to the first."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = MeanSquareNorm(config.dim)
        self.mixer = Mamba2(config)

    def forward(self, x: Tensor, reverse: bool = False) -> Tensor:
        if reverse and not self.mixer.form.is_whole:
            return self(x.flip(1)).flip(1)
        return x + self.mixer(self.norm(x), reverse)


class Merge(nn.Module):
    """Linear layer from both directions to d, stored as the official 1x1 ConvTranspose1d: [2d, d, 1]."""

    is_product = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        convolution = nn.ConvTranspose1d(2 * dim, dim, 1)  # used for its initial values
        self.weight = convolution.weight
        self.bias = cast(nn.Parameter, convolution.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.squeeze(-1) + self.bias


class MambaBlock(nn.Module):
    """Bidirectional Mamba2 with a residual inside each direction and one around both.

    [b, l, d] -> [b, l, d]. Source: official `MambaBlock`; the lists hold its n_layer = 1 mixer.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.forward_blocks = nn.ModuleList([ResidualMixer(config)])
        self.backward_blocks = nn.ModuleList([ResidualMixer(config)])
        self.linear = Merge(config.dim)

    def forward(self, x: Tensor) -> Tensor:
        ahead = self.forward_blocks[0](x)
        back = self.backward_blocks[0](x, reverse=True)
        return x + self.linear(torch.cat([ahead, back], dim=-1))
