"""The fused scan in PyTorch: one Triton kernel for all of it, forward or reverse, D inside. On CUDA, in 16 bits."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from bsmamba2.errors import ScanError

# How the kernel is compiled, for PyTorch and for TensorRT (export/plan/make_ptx.py).
CHUNK = 32  # positions of a chunk: with 64, the compiler runs out of registers (docs/scan.md)
OPTIONS = {"num_warps": 8, "num_stages": 2, "enable_fp_fusion": True}
LEAST_SIZE = 16  # of p and n: the smallest side of a product on tensor cores


def fused_scan(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None = None, reverse: bool = False
) -> Tensor:
    """The scan of `bsmamba2.networks.scan`, plus D x where `d` [h] is given; `reverse`: from the last position on.

    x [b, l, h, p], B and C [b, l, n] in float16 or bfloat16; dt [b, l, h], A and D [h] in float32. x, B and C may be
    parts of wider rows. Raises ScanError without CUDA or Triton, for other types or sizes, and where gradients are
    asked for.
    """
    _check(x, dt, a, b, c, d)
    if not x.is_cuda:
        raise ScanError(f"scan 'fused' needs a CUDA GPU, got tensors on {x.device}: use scan 'chunked'")
    return run_kernel(x, dt, a, b, c, d, reverse)


def run_kernel(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None = None, reverse: bool = False
) -> Tensor:
    """`fused_scan` without its checks, for tests of the kernel in Triton's interpreter."""
    kernel = _kernel()
    batch, length, heads, p = x.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    x, b, c = _in_rows(x.flatten(2)), _in_rows(b), _in_rows(c)
    if b.stride(1) != c.stride(1):
        b, c = b.contiguous(), c.contiguous()
    d = torch.zeros_like(a) if d is None else d.contiguous()
    sizes = length, heads, x.stride(1), b.stride(1), int(reverse)
    kernel[(batch * heads,)](
        *(x, dt.contiguous(), a.contiguous(), b, c, d, *sizes, y),
        headdim=p,
        d_state=b.shape[-1],
        chunk=CHUNK,
        **OPTIONS,
    )
    return y


def bytes_moved(sequences: int, length: int, heads: int, headdim: int, d_state: int) -> tuple[int, int]:
    """The bytes that the kernel's loads and stores move, and how many are left where each is moved once.

    The second number counts B and C, which the programs of all heads of a sequence load at about the same time, once.
    """
    positions = sequences * length
    narrow, wide = 2, 4
    x_dt_y = positions * heads * (2 * narrow * headdim + wide)
    b_c = positions * 2 * narrow * d_state
    a_d = 2 * wide * heads
    return x_dt_y + heads * b_c + sequences * a_d, x_dt_y + b_c + a_d


def _in_rows(x: Tensor) -> Tensor:
    """[b, l, features] with features side by side, and sequences one after the other: itself, or a copy."""
    is_so = x.stride(2) == 1 and (x.shape[0] == 1 or x.stride(0) == x.shape[1] * x.stride(1))
    return x if is_so else x.contiguous()


def _check(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None) -> None:
    given = [each for each in (x, dt, a, b, c, d) if each is not None]
    if torch.is_grad_enabled() and any(each.requires_grad for each in given):
        raise ScanError("scan 'fused' has no gradients: run it in torch.inference_mode(), or use scan 'chunked'")
    if x.dtype not in (torch.float16, torch.bfloat16) or not x.dtype == b.dtype == c.dtype:
        found = ", ".join(str(each.dtype).removeprefix("torch.") for each in (x, b, c))
        raise ScanError(
            f"scan 'fused' takes x, B and C in float16 or bfloat16, got {found}: convert the network with "
            "bsmamba2.networks.precision.to_precision, or use scan 'chunked'"
        )
    if any(each.dtype != torch.float32 for each in (dt, a, *([] if d is None else [d]))):
        raise ScanError(
            "scan 'fused' takes dt, A and D in float32: convert the network with "
            "bsmamba2.networks.precision.to_precision, or use scan 'chunked'"
        )
    for name, size in (("head dimension", x.shape[-1]), ("state dimension", b.shape[-1])):
        if size < LEAST_SIZE or size & (size - 1):
            raise ScanError(
                f"scan 'fused' takes powers of two from {LEAST_SIZE} on as {name}, got {size}: use scan 'chunked'"
            )


def _kernel() -> Any:
    try:
        return importlib.import_module("bsmamba2.networks.fused_kernel").ssd_scan
    except ImportError as error:
        raise ScanError(
            f"scan 'fused' needs Triton ({error}): install PyTorch for CUDA, which contains it, or use scan 'chunked'"
        ) from error
