"""The compiled fused scan that the package contains, and how it is launched. Needs neither Triton nor TensorRT.

`export/plan/ptx/` is made by `python -m export.plan.make_ptx` from `bsmamba2/networks/fused_kernel.py`. The arguments
of the kernel are the pointers x, dt, a, b, c, d, then the 32-bit integers of `Kernel.integers`, then the pointer y: the
tensors of `bsmamba2.networks.scan`, contiguous, and a, d, dt in float32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).with_name("ptx")
INDEX = "kernels.json"


class Kernel(NamedTuple):
    entry: str  # the name of the function in `ptx`
    ptx: str
    threads: int  # of a block
    shared: int  # bytes of shared memory
    headdim: int
    d_state: int
    chunk: int  # positions

    def grid(self, sequences: Any, heads: Any) -> Any:
        """Blocks on the x axis; numbers or TensorRT's expressions."""
        return sequences * heads

    def integers(self, length: Any, heads: Any, reverse: bool) -> tuple[Any, Any, Any, int, int]:
        """The integers among the arguments: length, heads, elements from a position to the next in x and in B, C."""
        return length, heads, heads * self.headdim, self.d_state, int(reverse)


def kernel_of(precision: str) -> Kernel:
    """The kernel for "fp16" or "bf16"."""
    kernel = dict(json.loads((FOLDER / INDEX).read_text())["kernels"][precision])
    return Kernel(ptx=(FOLDER / kernel.pop("file")).read_text(), **kernel)
