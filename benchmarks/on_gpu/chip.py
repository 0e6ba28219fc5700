"""What a GPU does alone: its best copy and its best large product, beside the published limits."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from on_gpu.torch_forms import event_seconds, exact_float32
from on_gpu.work import Work

SIZE = 8192  # of a square product
LARGE, SMALL = 1 << 30, 1 << 26  # bytes, copied on the GPU and between it and the host
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def measure(work: Work, emit: Callable[..., None]) -> None:
    """Emits bytes per second, and floating-point operations per second by precision, as they are found."""
    exact_float32()
    measured: dict[str, object] = copies()
    emit(chip=measured)
    flops = {}
    for precision, dtype in PRECISIONS.items():
        if precision != "bf16" or torch.cuda.get_device_capability() >= (8, 0):
            flops[precision] = 2 * SIZE**3 / product_seconds(dtype)
            emit(chip={**measured, "flops_per_second": flops})


def copies() -> dict[str, object]:
    """Bytes per second, read and written, in the GPU's memory, and from and to page-locked memory of the host."""
    one = torch.empty(LARGE, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(one)
    host, part = torch.empty(SMALL, dtype=torch.uint8, pin_memory=True), one[:SMALL]
    return {
        "bytes_per_second": 2 * LARGE / min(event_seconds(lambda: other.copy_(one), 10)),
        "to_gpu_bytes_per_second": SMALL / min(event_seconds(lambda: part.copy_(host, non_blocking=True), 10)),
        "to_host_bytes_per_second": SMALL / min(event_seconds(lambda: host.copy_(part, non_blocking=True), 10)),
    }


def product_seconds(dtype: torch.dtype) -> float:
    """The fastest of what fits into a second."""
    left, right = (torch.randn(SIZE, SIZE, device="cuda", dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    seconds: list[float] = []
    start = time.perf_counter()
    while not seconds or time.perf_counter() - start < 1:
        seconds += event_seconds(lambda: torch.matmul(left, right, out=out), 3)
    return min(seconds)
