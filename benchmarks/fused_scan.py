"""The fused scan: its errors, its PTX, the bytes it moves and, on a GPU, its time.

    python benchmarks/fused_scan.py [--rounds 20]

Errors are those of the kernel in Triton's interpreter, in the published sizes of a head, against the recurrence in
float64. Bytes are counted from shapes. Times need a GPU, PyTorch for CUDA and, for one row, mamba-ssm: what is not run
is named. Needs Triton; minutes on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from bsmamba2.errors import ScanError
from bsmamba2.networks.fused_scan import bytes_moved, fused_scan
from bsmamba2.networks.scan import SCAN_CHUNK, chunked_scan, kernel_scan
from export.plan.make_ptx import assembled
from export.plan.scan_kernel import kernel_of

HEADS, HEADDIM, STATE = 16, 64, 128
# One direction of a block of a chunk of 8 s: sequences and their length.
AXES = {"time": (62, 801), "sub-bands": (801, 62)}
LENGTHS, DECAYS = (1, 62, 801, 2001), {"usual": 0.0, "strong": 50.0, "very strong": 500.0}
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def table(columns: list[str], rows: Iterator[list[str]]) -> None:
    print(f"\n| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def errors() -> Iterator[list[str]]:
    """Of both directions, relative to the peak."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    import fused_in_interpreter as interpreter

    rows = list(product(DTYPES, LENGTHS, DECAYS))
    cases = [
        interpreter.Case(precision, length, (DECAYS[decay],), reverse, 1, HEADDIM, STATE)
        for (precision, length, decay), reverse in product(rows, (False, True))
    ]
    found = interpreter.errors(cases)
    for i, (precision, length, decay) in enumerate(rows):
        kernel, chunked = (max(each) for each in zip(*found[2 * i : 2 * i + 2], strict=True))
        yield [precision, str(length), decay, f"{kernel:.1e}", f"{chunked:.1e}"]


def ptx() -> Iterator[list[str]]:
    for precision in DTYPES:
        kernel = kernel_of(precision)
        sizes = str(len(kernel.ptx)), str(kernel.chunk), str(kernel.threads), str(kernel.shared)
        yield [precision, *sizes, assembled(kernel.ptx)]


def chunked_bytes(sequences: int, length: int) -> dict[str, int]:
    """What the chunked form moves in 16 bits where every product and every chain of pointwise operations reads its
    inputs from memory and writes its result there. dt and the sums of decays are float32."""
    chunks = -(-length // SCAN_CHUNK)
    q = min(SCAN_CHUNK, length)
    x, b, scores, decay = 2 * HEADS * HEADDIM, 2 * STATE, 2 * q, 4 * HEADS  # bytes of a position
    states = 2 * HEADS * STATE * HEADDIM // q
    steps = {
        "x dt": 2 * x + decay,
        "C B^T": 2 * b + scores,
        "times decays": scores + decay + HEADS * scores,
        "times x": HEADS * scores + 2 * x,
    }
    if chunks > 1:
        steps |= {
            "x to the end": 2 * x + decay,
            "states": b + x + states,
            "carried": 2 * states,
            "C states": b + states + x,
            "sum and D x": 4 * x + decay,
        }
    else:
        steps["D x"] = 3 * x
    return {name: each * sequences * chunks * q for name, each in steps.items()}


def moved() -> Iterator[list[str]]:
    for axis, (sequences, length) in AXES.items():
        each = chunked_bytes(sequences, length)
        loaded, once = bytes_moved(sequences, length, HEADS, HEADDIM, STATE)
        chunked = sum(each.values())
        parts = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in each.items())
        mega = [f"{size / 1e6:.0f}" for size in (chunked, loaded, once)]
        yield [axis, *mega, f"{chunked / once:.1f}", parts]


def times(rounds: int) -> Iterator[list[str]]:
    """Medians in ms of one direction."""
    for (axis, sizes), (precision, dtype) in product(AXES.items(), DTYPES.items()):
        x = torch.randn(*sizes, HEADS, HEADDIM, device="cuda", dtype=dtype)
        dt, a, d = torch.rand(*sizes, HEADS, device="cuda"), -torch.rand(HEADS, device="cuda"), None
        b, c = torch.randn(2, *sizes, STATE, device="cuda", dtype=dtype)
        forms: dict[str, Callable[[], Tensor]] = {
            "fused": lambda args=(x, dt, a, b, c, d): fused_scan(*args),
            "fused, reverse": lambda args=(x, dt, a, b, c, d): fused_scan(*args, reverse=True),
            "chunked": lambda args=(x, dt, a, b, c): chunked_scan(*args),
            "kernel": lambda args=(x, dt, a, b, c): kernel_scan(*args),
        }
        for form, run in forms.items():
            try:
                yield [axis, precision, form, f"{milliseconds(run, rounds):.3f}"]
            except ScanError as error:
                yield [axis, precision, form, f"not run: {error}"]


def milliseconds(run: Callable[[], Tensor], rounds: int) -> float:
    run(), run()
    found = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end))
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    table(["precision", "positions", "decay", "fused", "chunked"], errors())
    table(["precision", "PTX, bytes", "positions of a step", "threads", "shared memory, bytes", "ptxas for 8.0"], ptx())
    columns = ["along", "chunked, MB", "fused, all loads and stores, MB", "each byte once, MB", "chunked / once"]
    table([*columns, "chunked, by step, MB"], moved())
    if torch.cuda.is_available():
        print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}")
        with torch.inference_mode():
            table(["along", "precision", "scan", "ms"], times(args.rounds))
    else:
        print(f"\nTimes of fused, chunked and kernel: not run: this PyTorch, {torch.__version__}, finds no CUDA GPU")


if __name__ == "__main__":
    main()
