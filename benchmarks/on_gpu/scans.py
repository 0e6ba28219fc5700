"""A scan alone: compared with the recurrence in float64 on some sequences, and timed on all of a chunk of music."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bsmamba2.networks.precision import DTYPES
from bsmamba2.networks.scan import chunked_scan, kernel_scan, sequential_scan
from on_gpu.driver import PtxKernel
from on_gpu.measuring import CannotRun, spread, timed
from on_gpu.torch_forms import event_seconds, exact_float32
from on_gpu.work import Work

COMPARED = 2  # sequences: the recurrence goes position by position
WARM_UP = 3
# Largest error, relative to the peak of the recurrence's result. Measured on CPUs, the chunked form: 6e-4 in fp16.
TOLERANCES = {"fp32": 2e-5, "fp16": 2e-3, "bf16": 2e-2}

# (x [b, l, h, p], dt [b, l, h], A [h], B and C [b, l, n], D [h], reverse) -> y [b, l, h, p]
Scan = Callable[..., Tensor]


def measure(work: Work, emit: Callable[..., None], form: str, precision: str) -> None:
    """Emits one scan for each axis: time (a sequence for each sub-band) and sub-bands (one for each frame)."""
    exact_float32()
    scan = FORMS[form](work, precision)
    where = torch.cuda.get_device_name() if work.device == "cuda" else "CPU"
    emit(executor=f"torch {torch.__version__}, {where}")
    bands = len(work.config.bands)
    for axis, sequences, length in (("time", bands, work.frames), ("sub-bands", work.frames, bands)):
        emit(stage=f"along {axis}")
        with torch.inference_mode():
            emit(scan={"axis": axis, **_measured(scan, work, precision, sequences, length)})


def _measured(scan: Scan, work: Work, precision: str, sequences: int, length: int) -> dict[str, Any]:
    inputs = tuple(each.to(work.device) for each in made_inputs(work, precision, sequences, length))
    errors = {
        name: error_of(scan, inputs, reverse) for name, reverse in (("forward_error", False), ("reverse_error", True))
    }
    for _ in range(WARM_UP):
        y = scan(*inputs, False)
    if work.device == "cuda":
        seconds = event_seconds(lambda: scan(*inputs, False), work.rounds)
    else:
        seconds = timed(lambda: scan(*inputs, False), work.rounds)
    heads, p, n = inputs[0].shape[2], inputs[0].shape[3], inputs[3].shape[2]
    return {
        "sequences": sequences,
        "length": length,
        **errors,
        "within": all(error <= TOLERANCES[precision] for error in errors.values()),
        "seconds": spread(seconds),
        "flops": flops_of(sequences, length, heads, p, n),
        "bytes": sum(each.nbytes for each in (*inputs, y)),
    }


def made_inputs(work: Work, precision: str, sequences: int, length: int) -> Iterator[Tensor]:
    """From a seed, on the CPU; dt and A as Mamba2 starts them, some dt larger."""
    config, random = work.config, torch.Generator().manual_seed(0)
    heads = config.dim * config.expand // config.headdim
    narrow = DTYPES[precision]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    yield normal(sequences, length, heads, config.headdim).to(narrow)
    yield F.softplus(normal(sequences, length, heads) - 3)
    yield -torch.linspace(1, 16, heads)
    yield (normal(sequences, length, config.d_state) / math.sqrt(config.d_state)).to(narrow)
    yield normal(sequences, length, config.d_state).to(narrow)
    yield torch.linspace(0.5, 1.5, heads)


def error_of(scan: Scan, inputs: tuple[Tensor, ...], reverse: bool) -> float:
    """The largest error of `COMPARED` sequences, the first and the last, relative to the peak of the recurrence."""
    x, dt, a, b, c, d = inputs
    chosen = torch.linspace(0, len(x) - 1, COMPARED).long().to(x.device)
    found = scan(*inputs, reverse)[chosen].double().cpu()
    some = tuple((each[chosen] if each.dim() > 1 else each).double().cpu() for each in (x, dt, a, b, c))
    if reverse:
        some = tuple(each.flip(1) if each.dim() > 1 else each for each in some)
    wanted = sequential_scan(*some)
    wanted = (wanted.flip(1) if reverse else wanted) + d.double().cpu()[:, None] * x[chosen].double().cpu()
    if not torch.isfinite(found).all():
        raise ValueError("NaN or Inf in the result")
    return float((found - wanted).abs().max() / wanted.abs().max())


def flops_of(sequences: int, length: int, heads: int, p: int, n: int, chunk: int = 64) -> int:
    """Of the products of the block form: C B^T, scores x, states, C S. Sequences of one chunk have no states."""
    chunks = -(-length // chunk)
    q = min(chunk, length)
    within = 2 * q * q * n + heads * 2 * q * q * p
    between = 0 if chunks == 1 else heads * 2 * (2 * q * n * p)
    return sequences * chunks * (within + between)


def _turned(scan: Callable[..., Tensor]) -> Scan:
    """A scan that goes forward only and has no D."""

    def both(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, reverse: bool) -> Tensor:
        if reverse:
            return both(x.flip(1), dt.flip(1), a, b.flip(1), c.flip(1), d, False).flip(1)
        return scan(x, dt, a, b, c) + (d[:, None] * x).to(x.dtype)

    return both


def _fused(work: Work, precision: str) -> Scan:
    from bsmamba2.networks.fused_scan import fused_scan

    return fused_scan


def _ptx(work: Work, precision: str) -> Scan:
    torch.zeros(1, device=work.device)  # makes PyTorch's context the current one, which the kernel is loaded into
    return by_driver(work, precision, lambda: torch.cuda.current_stream().cuda_stream)


def by_driver(work: Work, precision: str, stream: Callable[[], int], driver: Any = None) -> Scan:
    """The PTX of the package, launched by the driver on PyTorch's memory and stream."""
    from export.plan.scan_kernel import kernel_of

    kernel, config = kernel_of(precision), work.config
    if (kernel.headdim, kernel.d_state) != (config.headdim, config.d_state):
        raise CannotRun(f"the PTX is for head dimension {kernel.headdim} and state dimension {kernel.d_state}")
    loaded = PtxKernel(kernel.ptx, kernel.entry, kernel.threads, kernel.shared, driver)

    def scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, reverse: bool) -> Tensor:
        y = torch.empty_like(x)
        sequences, length, heads, _ = x.shape
        pointers = [each.data_ptr() for each in (x, dt, a, b, c, d)]
        integers = kernel.integers(length, heads, reverse)
        loaded.launch(kernel.grid(sequences, heads), stream(), pointers, integers, y.data_ptr())
        return y

    return scan


FORMS: dict[str, Callable[[Work, str], Scan]] = {
    "chunked": lambda work, precision: _turned(chunked_scan),
    "kernel": lambda work, precision: _turned(kernel_scan),
    "fused": _fused,
    "ptx": _ptx,
}
