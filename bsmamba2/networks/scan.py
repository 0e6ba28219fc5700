"""The selective state space scan of Mamba2, in several forms of the same function.

For each head, with state S [n, p] starting at zero (Dao & Gu 2024, section 6; mamba_ssm v2.2.2,
`ssd_chunk_scan_combined_ref`):

    S_t = exp(dt_t A) S_{t-1} + dt_t B_t x_t        y_t = C_t S_t

Shapes, by the axis legend: x [b, l, h, p]; dt [b, l, h], already positive; A [h], negative;
B and C [b, l, n], shared by all heads; result y [b, l, h, p].
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bsmamba2.errors import ScanError
from bsmamba2.networks.fused_scan import fused_scan

SCAN_CHUNK = 64  # positions q of one chunk of the block form

# Replaces log-decays above the diagonal. Its exp() is exactly 0 in float16 to float64, and unlike -inf it does not turn
# into NaN when it is subtracted or multiplied by 0.
MASKED = -1.0e4

STEP = 1 / 64
# Smallest log-decay: its exp() is 0 even in float64, and sums of 256 of them are exact in float32.
LEAST = -1024.0


def sequential_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The recurrence, position by position: the exact but slow reference."""
    state = x.new_zeros(x.shape[0], x.shape[2], b.shape[-1], x.shape[3])  # [b, h, n, p]
    decay = torch.exp(dt * a)
    y = []
    for t in range(x.shape[1]):
        update = b[:, t, None, :, None] * (dt[:, t, :, None] * x[:, t])[:, :, None, :]
        state = decay[:, t, :, None, None] * state + update
        y.append((c[:, t, None, None, :] @ state).squeeze(-2))
    return torch.stack(y, dim=1)


def chunked_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The block form: products within chunks of q positions, and one product for the states between chunks."""
    return _block_scan(x, dt, a, b, c, _states_by_product)


def unrolled_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The block form whose states are passed from chunk to chunk in a loop. Only for lengths known when tracing."""
    return _block_scan(x, dt, a, b, c, _states_by_steps)


def _block_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, states_before: States) -> Tensor:
    """Both block forms, which differ in `states_before`.

    Heads come before chunks ([b, h, c, q, ...]) from the start, so that no result of a product is permuted before the
    next product: TensorRT's builder fails on such a permutation.
    """
    length, n = x.shape[1], b.shape[-1]
    known = isinstance(length, int)  # false while a graph of dynamic length is traced, which always pads
    q = min(SCAN_CHUNK, length) if known else SCAN_CHUNK
    chunks = (length + q - 1) // q
    pad = chunks * q - length
    if not known or pad:  # dt = 0: the state neither decays nor changes
        x, dt = F.pad(x, (0, 0, 0, 0, 0, pad)), F.pad(dt, (0, 0, 0, pad))
        b, c = F.pad(b, (0, 0, 0, pad)), F.pad(c, (0, 0, 0, pad))
    heads, p = x.shape[2], x.shape[3]

    # 1. split into chunks; dt and the decays stay float32
    narrow = x.dtype
    x = (x * dt[..., None]).to(narrow).reshape(-1, chunks, q, heads, p).permute(0, 3, 1, 2, 4)  # [b, h, c, q, p]
    log_decay = (dt * a).reshape(-1, chunks, q, heads).permute(0, 3, 1, 2)  # [b, h, c, q]
    b = b.reshape(-1, 1, chunks, q, n)
    c = c.reshape(-1, 1, chunks, q, n)
    total = RunningSum.of(log_decay)

    # 2. within a chunk: y_i = sum over j <= i of (C_i . B_j) exp(total_i - total_j) dt_j x_j
    y = (_decays(total, total, diagonal=0).to(narrow) * (c @ b.transpose(-1, -2))) @ x  # [b, h, c, q, p]

    if not known or chunks > 1:
        # 3. the state that each chunk alone produces at its end
        to_end = torch.exp(total.cut(-1, None).minus(total)).to(narrow)  # [b, h, c, q]
        states = b.transpose(-1, -2) @ (x * to_end[..., None])  # [b, h, c, n, p]

        # 4. the state at the start of each chunk: those of all earlier chunks, decayed
        states = states_before(states, log_decay.sum(-1))

        # 5. the contribution of that state
        y = y + (c @ states) * torch.exp(total.coarse + total.fine).to(narrow)[..., None]

    y = y.permute(0, 2, 3, 1, 4).reshape(-1, chunks * q, heads, p)
    return y[:, :length] if not known or pad else y


# (state from each chunk [b, h, c, n, p], its log-decay [b, h, c]) -> state at the start of each chunk [b, h, c, n, p]
States = Callable[[Tensor, Tensor], Tensor]


def _states_by_product(states: Tensor, log_decay: Tensor) -> Tensor:
    heads, chunks, n, p = states.shape[1:]
    carried = carried_decays(log_decay).to(states.dtype)
    return (carried @ states.flatten(-2)).reshape(-1, heads, chunks, n, p)


def carried_decays(log_decay: Tensor) -> Tensor:
    """The remaining share of chunk j's state at the start of chunk i > j, else 0: [b, h, c] -> [b, h, c, c]."""
    bounds = RunningSum.of(F.pad(log_decay, (1, 0)))  # [b, h, c + 1]
    return _decays(bounds.cut(0, -1), bounds.cut(1, None), diagonal=-1)


def _states_by_steps(states: Tensor, log_decay: Tensor) -> Tensor:
    decay = torch.exp(log_decay).to(states.dtype)[..., None, None]  # [b, h, c, 1, 1]
    before = [torch.zeros_like(states[:, :, 0])]
    for i in range(states.shape[2] - 1):
        before.append(decay[:, :, i] * before[-1] + states[:, :, i])
    return torch.stack(before, dim=2)


class RunningSum(NamedTuple):
    """Sums of log-decays from the start to each position, [..., q], as coarse + fine.

    The sums grow to thousands, while differences between them matter to the seventh digit: in a single float32, a
    strong decay would reduce the accuracy of all later ones. `coarse` holds multiples of `STEP`, so its sums and
    differences are exact; `fine` holds the rest of each term, at most half a step.
    """

    coarse: Tensor
    fine: Tensor

    @classmethod
    def of(cls, terms: Tensor) -> RunningSum:
        terms = terms.clamp(min=LEAST)
        coarse = torch.round(terms / STEP) * STEP
        return cls(torch.cumsum(coarse, dim=-1), torch.cumsum(terms - coarse, dim=-1))

    def cut(self, start: int, end: int | None) -> RunningSum:
        return RunningSum(self.coarse[..., start:end], self.fine[..., start:end])

    def minus(self, other: RunningSum) -> Tensor:
        return (self.coarse - other.coarse) + (self.fine - other.fine)


def _decays(rows: RunningSum, columns: RunningSum, diagonal: int) -> Tensor:
    """exp(rows_i - columns_j) where j <= i + diagonal, else 0: [..., q] and [..., q] -> [..., q, q]."""
    difference = RunningSum(*(part[..., :, None] for part in rows)).minus(
        RunningSum(*(part[..., None, :] for part in columns))
    )
    # Valid differences are <= 0; the bound of 0 or MASKED removes the others.
    steps, dtype, device = rows.fine.shape[-1], rows.fine.dtype, rows.fine.device
    bound = torch.full((steps, steps), MASKED, dtype=dtype, device=device).triu(diagonal + 1)
    return torch.exp(torch.minimum(difference, bound))


def kernel_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """mamba-ssm's Triton kernel. Raises ScanError without mamba-ssm or CUDA."""
    scan = _kernel("mamba_ssm.ops.triton.ssd_combined", "mamba_chunk_scan_combined", x)
    return scan(x, dt, a, b[:, :, None], c[:, :, None], chunk_size=256)


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool = False) -> Tensor:
    """Causal depthwise convolution and SiLU: x [b, l, d], weight [d, 1, taps], bias [d] -> [b, l, d].

    Tap k multiplies x[t - (taps - 1) + k], with zeros before the start; with `reverse`, x[t + (taps - 1) - k], with
    zeros after the end. Written as a sum over the taps: this needs no transposition, ONNX has no bfloat16 convolution
    before opset 22, and TensorRT plans become smaller.
    """
    length, taps = x.shape[1], weight.shape[-1]
    padded = F.pad(x, (0, 0, 0, taps - 1) if reverse else (0, 0, taps - 1, 0))
    y = bias
    for k in range(taps):
        start = taps - 1 - k if reverse else k
        y = y + padded[:, start : start + length] * weight[:, 0, k]
    return F.silu(y)


def kernel_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`depthwise_conv` by causal-conv1d's kernel. Raises ScanError without it or without CUDA."""
    conv = _kernel("causal_conv1d", "causal_conv1d_fn", x)
    channel_first = x.transpose(1, 2).contiguous()  # the other layout requires strides that are multiples of 8
    return conv(channel_first, weight.squeeze(1), bias, activation="silu").transpose(1, 2)


def _kernel(module: str, name: str, x: Tensor) -> Callable[..., Tensor]:
    if not x.is_cuda:
        raise ScanError(f"scan 'kernel' needs a CUDA GPU, got tensors on {x.device}: use scan 'chunked'")
    try:
        kernel: Callable[..., Tensor] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ScanError(
            f"scan 'kernel' needs mamba-ssm and causal-conv1d ({error}): install PyTorch for CUDA, then pip install "
            "--no-build-isolation mamba-ssm causal-conv1d; or use scan 'chunked'"
        ) from error
    return kernel


class Form(NamedTuple):
    """A form of the scan and of the causal convolution before it."""

    scan: Callable[..., Tensor]  # (x, dt, A, B, C) -> y
    conv: Callable[..., Tensor]  # (x, weight, bias) -> y
    is_whole: bool = False  # the scan also takes D and adds D x; both take `reverse`, so the input need not be flipped


SCANS: dict[str, Form] = {
    "sequential": Form(sequential_scan, depthwise_conv),
    "chunked": Form(chunked_scan, depthwise_conv),
    "unrolled": Form(unrolled_scan, depthwise_conv),
    "kernel": Form(kernel_scan, kernel_conv),
    "fused": Form(fused_scan, depthwise_conv, is_whole=True),
}


def scan_named(name: str) -> Form:
    """The form of that name. Raises ScanError for an unknown name."""
    if name not in SCANS:
        raise ScanError(f"scan {name!r} is unknown: expected one of {', '.join(SCANS)}")
    return SCANS[name]
