"""Mamba2 blocks folded for a CPU: the same function with fewer passes over memory.

A CPU spends its time on matrix products and on reading and writing memory between them. Folding keeps the products and
saves passes, by these identities:

- the weight of the norm before a mixer is multiplied into in_proj, so that both directions share one normalised input;
- in_proj is split into the products whose results are used separately, so that no result has to be split and copied;
- the output projections, the merge of both directions and the residual connections become one product;
- the backward direction is not flipped: its convolution, sums and triangular matrix run backwards instead;
- the convolution stands between two transpositions, a form that ONNX Runtime converts to its fast layout;
- sums of log-decays over parts of a chunk are products with constant 0/1 matrices; taking differences of running sums
  instead would lose digits;
- D is added to the diagonal of the matrix that multiplies x.

`docs/engine.md` has the measured gain. In float64 the folded block equals the original to 1e-12.
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
    """Replace every Mamba2 block of `model` by its folded form, for chunks of `frames` frames."""
    triangles: dict[tuple[int, bool], Triangle] = {}  # shared, so that the graph contains each of them once
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
    """Chunk length of the scan: at most SCAN_CHUNK, and with little padding for sequences of these `lengths`."""
    if lengths.min == lengths.max:
        chunks = (lengths.max + SCAN_CHUNK - 1) // SCAN_CHUNK
        return (lengths.max + chunks - 1) // chunks

    def padding(q: int) -> float:
        """The largest share of padding in the last chunk, over the lengths."""
        return max(-length % q / length for length in (lengths.min, lengths.opt, lengths.max))

    return min(range(SCAN_CHUNK, SCAN_CHUNK * 3 // 4, -1), key=padding)


class Triangle(nn.Module):
    """Constant matrices that sum log-decays over parts of a chunk of q positions, in one direction of time.

    A row vector of log-decays [q], with a 1 appended, times `pairs` [q + 1, q * q] gives for each pair (i, j) the decay
    from j to i, which is the sum over the positions after j up to i, or MASKED if j comes after i. Times `to_here`
    [q, q] it gives the sum up to and including i; times `from_here` [q, q] the sum after j.
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
    """`MambaBlock`, [m, l, d] -> [m, l, d]. `fixed`: traced for one length only."""

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
    """One direction of a block: `Mamba2` and its half of the merge, [m, l, d] normalised -> [m, l, d]."""

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
        self.halo = mixer.conv1d.weight.shape[-1] - 1  # padding before the first position, for the convolution
        self.dt_bias, self.d = constant(mixer.dt_bias), constant(mixer.D)
        self.a = constant(-torch.exp(mixer.A_log.double()))
        self.norm_weight = constant(mixer.norm.weight)
        self.to_out = mixer.out_proj.weight.detach().double().T @ merge

    def forward(self, u: Tensor) -> Tensor:
        length, q, heads, n = u.shape[1], self.triangle.identity.shape[0], self.heads, self.state
        chunks = (length + q - 1) // q
        fill = chunks * q - length  # padding behind the last position, in this direction of time
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

        # 3. within a chunk: y_i = D x_i + sum over j <= i of (C_i . B_j) exp(decay from j to i) dt_j x_j
        within = torch.exp(_between(log_decay, self.triangle)) * (c @ b.transpose(-1, -2)) * dt[..., None, :]
        y = (within + self.triangle.identity * self.d[:, None, None, None]) @ x

        # 4. the state at the end of each chunk, decayed to the start of each later one, and its contribution there
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
        """[m, l, channels] -> SiLU of the convolution, the same shape, zero-padded before the first position."""
        image = x[:, None].permute(0, 3, 1, 2)
        image = F.pad(image, (0, self.halo) if self.backward else (self.halo, 0))
        return F.silu(conv(image).permute(0, 2, 3, 1).flatten(1, 2))


def mean_square_norm(x: Tensor, weight: Tensor) -> Tensor:
    """`bsmamba2.networks.mamba2.MeanSquareNorm`, in the form that ONNX Runtime fuses into one operator."""
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


def _between(log_decay: Tensor, triangle: Triangle) -> Tensor:
    """Log-decays [m, h, c, q] -> the decay from j to i, or MASKED, [m, h, c, q, q]."""
    pairs = F.pad(log_decay, (0, 1), value=1.0) @ triangle.pairs
    return pairs.unflatten(-1, (log_decay.shape[-1], -1))


def _conv(conv: nn.Conv1d, channels: slice, backward: bool) -> nn.Conv2d:
    """Some channels of a depthwise convolution, as a 2-D convolution of height 1; backward: with its taps reversed."""
    weight, bias = conv.weight.detach()[channels], cast(Tensor, conv.bias).detach()[channels]
    if backward:
        weight = weight.flip(-1)
    number, taps = weight.shape[0], weight.shape[-1]
    out = nn.Conv2d(number, number, (1, taps), groups=number)
    out.weight, out.bias = nn.Parameter(weight[:, :, None].clone()), nn.Parameter(bias.clone())
    return out
