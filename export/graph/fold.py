"""Mamba2 blocks folded for a CPU: the same function in fewer passes over memory.

A CPU spends its time in matrix products and in walking through memory between them. What is done here leaves the
products and saves walks, each by an identity:

- the weight of the norm before a mixer goes into in_proj, so that both directions share one normalised input;
- in_proj is cut into the products whose results are used apart, so that nothing is split and copied;
- the output projection and the merge of both directions become one product; what goes around them becomes a third;
- the backward direction is not flipped: its convolution, its sums and its triangle look the other way instead;
- the convolution stands between two transpositions, the form that ONNX Runtime turns into its fast layout;
- sums of log-decays over parts of a chunk are products with constant matrices of zeros and ones; no difference of
  running sums is taken, so none of their digits are lost;
- D goes onto the diagonal of what multiplies x anyway.

`docs/engine.md` says what they gain. In float64 the folded block equals the plain one to 1e-12.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsmamba2.networks.mamba2 import EPS, MambaBlock, Merge, ResidualMixer
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.scan import MASKED, SCAN_CHUNK, carried_decays
from runtime.engine.manifest import Range


def fold_dual_path(model: BandSplitSeparator, frames: Range) -> None:
    """Replace every Mamba2 block of `model`, for chunks of so many `frames`."""
    triangles: dict[tuple[int, bool], Triangle] = {}  # shared, so that the graph holds each of them once
    sub_bands = len(model.config.bands)
    for layer in model.layers:
        blocks = cast(nn.ModuleList, layer)
        for i, lengths in enumerate((frames, Range(sub_bands, sub_bands, sub_bands))):
            if isinstance(blocks[i], MambaBlock):
                fixed = lengths.min == lengths.max
                q = positions_of_a_chunk(lengths)
                for backward in (False, True):
                    if (q, backward) not in triangles:
                        triangles[q, backward] = Triangle(q, backward)
                block = cast(MambaBlock, blocks[i])
                blocks[i] = FoldedBlock(block, triangles[q, False], triangles[q, True], fixed)


def positions_of_a_chunk(lengths: Range) -> int:
    """At most SCAN_CHUNK positions, and few too many of them in the last chunk of sequences of these `lengths`."""
    if lengths.min == lengths.max:
        chunks = (lengths.max + SCAN_CHUNK - 1) // SCAN_CHUNK
        return (lengths.max + chunks - 1) // chunks

    def too_many(q: int) -> float:
        """The share of a length that is added to fill its last chunk, where that is largest."""
        return max(-length % q / length for length in (lengths.min, lengths.opt, lengths.max))

    return min(range(SCAN_CHUNK, SCAN_CHUNK * 3 // 4, -1), key=too_many)


class Triangle(nn.Module):
    """Constants that sum log-decays over parts of a chunk of q positions, in one direction of time.

    A row vector of log-decays [q], with a 1 appended, times `pairs` gives for each (i, j), [q * q], the decay from j to
    i: the sum over the positions after j up to i, or MASKED where j comes after i. Times `to_here`, [q, q]: up to and
    with i. Times `from_here`, [q, q]: after j.
    """

    pairs: Tensor
    to_here: Tensor
    from_here: Tensor
    identity: Tensor

    def __init__(self, q: int, backward: bool) -> None:
        super().__init__()
        k, i, j = torch.meshgrid(*[torch.arange(q)] * 3, indexing="ij")
        if backward:
            k, i, j = -k, -i, -j
        pairs = ((j < k) & (k <= i)).double().flatten(1)
        later = (j > i)[:1].double().flatten(1)
        self.register_buffer("pairs", torch.cat([pairs, MASKED * later]).float())
        self.register_buffer("to_here", (k <= i)[:, :, 0].float())
        self.register_buffer("from_here", (k > j)[:, 0].float())
        self.register_buffer("identity", torch.eye(q))


class FoldedBlock(nn.Module):
    """`MambaBlock`, [m, l, d] -> [m, l, d]. `fixed`: it is traced for one length only."""

    ones: Tensor

    def __init__(self, block: MambaBlock, ahead: Triangle, back: Triangle, fixed: bool) -> None:
        super().__init__()
        merge = cast(Merge, block.linear).weight.detach().squeeze(-1).double()
        dim = merge.shape[1]
        self.ahead = FoldedMixer(cast(ResidualMixer, block.forward_blocks[0]), merge[:dim], ahead, False, fixed)
        self.back = FoldedMixer(cast(ResidualMixer, block.backward_blocks[0]), merge[dim:], back, True, fixed)
        around = merge[:dim] + merge[dim:] + torch.eye(dim, dtype=torch.float64)
        to_out = torch.cat([self.ahead.to_out, self.back.to_out, around])
        self.to_out = nn.Parameter(to_out.to(block.linear.weight.dtype))
        self.bias = nn.Parameter(cast(Tensor, block.linear.bias).detach().clone())
        self.register_buffer("ones", torch.ones(dim, dtype=self.to_out.dtype))

    def forward(self, x: Tensor) -> Tensor:
        normal = mean_square_norm(x, self.ones)
        return torch.cat([self.ahead(normal), self.back(normal), x], dim=-1) @ self.to_out + self.bias


class FoldedMixer(nn.Module):
    """One direction: its norm, `Mamba2` and its half of the merge. [m, l, d], normalised -> [m, l, d]."""

    def __init__(self, residual: ResidualMixer, merge: Tensor, triangle: Triangle, backward: bool, fixed: bool) -> None:
        super().__init__()
        mixer = residual.mixer
        inner, conv_dim, self.heads = mixer.sizes
        self.state, self.headdim = mixer.inner_sizes[1], mixer.headdim
        self.backward, self.fixed = backward, fixed
        self.triangle = triangle
        dtype = mixer.in_proj.weight.dtype

        def constant(value: Tensor) -> nn.Parameter:
            return nn.Parameter(value.detach().to(dtype).clone(memory_format=torch.contiguous_format))

        weight = (mixer.in_proj.weight.double() * residual.norm.weight.double()).T
        self.to_z, self.to_x = constant(weight[:, :inner]), constant(weight[:, inner : 2 * inner])
        self.to_b_c_dt = constant(weight[:, 2 * inner :])
        self.conv_x = _conv(mixer.conv1d, slice(0, inner), backward)
        self.conv_b_c = _conv(mixer.conv1d, slice(inner, conv_dim), backward)
        self.halo = mixer.conv1d.weight.shape[-1] - 1  # positions before the first that the convolution sees
        self.dt_bias, self.d = constant(mixer.dt_bias), constant(mixer.D)
        self.a = constant(-torch.exp(mixer.A_log.double()))
        self.norm_weight = constant(mixer.norm.weight)
        self.to_out = mixer.out_proj.weight.detach().double().T @ merge

    def forward(self, u: Tensor) -> Tensor:
        length, q, heads, n = u.shape[1], self.triangle.identity.shape[0], self.heads, self.state
        chunks = (length + q - 1) // q
        fill = chunks * q - length  # positions that come after all others, in this direction, and change none
        filled = F.pad(u, (0, 0, fill, 0) if self.backward else (0, 0, 0, fill)) if not self.fixed or fill else u

        # 1. projections and convolutions
        z = filled @ self.to_z  # [m, c * q, inner]
        x = self._convolved(filled @ self.to_x, self.conv_x)
        b_c, dt = (filled @ self.to_b_c_dt).split([2 * n, heads], dim=-1)
        b, c = self._convolved(b_c, self.conv_b_c).split([n, n], dim=-1)
        dt = F.softplus(dt + self.dt_bias)

        # 2. cut into chunks
        x = x.reshape(-1, chunks, q, heads, self.headdim).permute(0, 3, 1, 2, 4)  # [m, h, c, q, p]
        dt = dt.reshape(-1, chunks, q, heads).permute(0, 3, 1, 2)  # [m, h, c, q]
        b, c = b.reshape(-1, 1, chunks, q, n), c.reshape(-1, 1, chunks, q, n)
        log_decay = dt * self.a[:, None, None]

        # 3. within a chunk: y_i = D x_i + sum over j up to i of (C_i . B_j) exp(decay from j to i) dt_j x_j
        within = torch.exp(_between(log_decay, self.triangle)) * (c @ b.transpose(-1, -2)) * dt[..., None, :]
        y = (within + self.triangle.identity * self.d[:, None, None, None]) @ x

        # 4. what each chunk leaves behind, decayed until each later one starts, and what that adds there
        if not self.fixed or chunks > 1:
            left = torch.exp(log_decay @ self.triangle.from_here) * dt
            states = b.transpose(-1, -2) @ (x * left[..., None])  # [m, h, c, n, p]
            of_chunks = log_decay.sum(-1)
            carried = carried_decays(of_chunks.flip(-1)).flip(-1, -2) if self.backward else carried_decays(of_chunks)
            states = (carried @ states.flatten(-2)).unflatten(-1, (n, self.headdim))
            y = y + (c @ states) * torch.exp(log_decay @ self.triangle.to_here)[..., None]

        # 5. gate, norm, projection
        y = y.permute(0, 2, 3, 1, 4).reshape(-1, chunks * q, heads * self.headdim)
        y = mean_square_norm(y * F.silu(z), self.norm_weight)
        if not self.fixed or fill:
            y = y[:, fill:] if self.backward else y[:, :length]
        return y

    def _convolved(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """[m, l, channels] -> SiLU of the convolution, the same shape. Zeros stand before what comes first."""
        image = x[:, None].permute(0, 3, 1, 2)
        image = F.pad(image, (0, self.halo) if self.backward else (self.halo, 0))
        return F.silu(conv(image).permute(0, 2, 3, 1).flatten(1, 2))


def mean_square_norm(x: Tensor, weight: Tensor) -> Tensor:
    """`bsmamba2.networks.mamba2.MeanSquareNorm`, in the form that ONNX Runtime has one operator for."""
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


def _between(log_decay: Tensor, triangle: Triangle) -> Tensor:
    """Log-decays [m, h, c, q] -> the decay from j to i, or MASKED, [m, h, c, q, q]."""
    pairs = F.pad(log_decay, (0, 1), value=1.0) @ triangle.pairs
    return pairs.unflatten(-1, (log_decay.shape[-1], -1))


def _conv(conv: nn.Conv1d, channels: slice, backward: bool) -> nn.Conv2d:
    """Some channels of a depthwise convolution, over an image of one column. Backward ones look ahead."""
    weight, bias = conv.weight.detach()[channels], cast(Tensor, conv.bias).detach()[channels]
    if backward:
        weight = weight.flip(-1)
    number, taps = weight.shape[0], weight.shape[-1]
    out = nn.Conv2d(number, number, (1, taps), groups=number)
    out.weight, out.bias = nn.Parameter(weight[:, :, None].clone()), nn.Parameter(bias.clone())
    return out
