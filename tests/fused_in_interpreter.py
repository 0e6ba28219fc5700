"""The kernel of the fused scan in Triton's interpreter, which needs no GPU, against the recurrence in float64.

python fused_in_interpreter.py, in a process of its own: Triton reads TRITON_INTERPRET when it is imported. Takes a list
of cases as JSON from standard input, and prints for each the largest errors of the kernel and of the chunked form in
PyTorch, relative to the peak of a head: [[kernel, chunked], ...].
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Case(NamedTuple):
    precision: str
    length: int
    decays: tuple[float, ...] = (0.0, 50.0, 500.0)  # of each head: 3 of 10 positions have this dt, the others 0.01
    reverse: bool = False
    batch: int = 1
    headdim: int = 16
    d_state: int = 16
    what: str = "scan"  # or "block": a whole MambaBlock


def errors(cases: list[Case]) -> list[tuple[float, float]]:
    """The errors of the kernel and of the chunked form, for each of `cases`. Raises AssertionError."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, __file__], env=environment, input=json.dumps(cases), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [(kernel, chunked) for kernel, chunked in json.loads(done.stdout)]


def with_bfloat16() -> None:
    """The interpreter keeps bfloat16 as integers, multiplies these as such, and cuts digits off instead of rounding."""
    import ml_dtypes
    import numpy as np
    from triton import language
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    own_dot, own_cast = InterpreterBuilder.create_dot, InterpreterBuilder.cast_impl
    narrow, wide = language.bfloat16, language.float32

    def cast(self, src, dst_type):
        if src.dtype.scalar == narrow and dst_type.scalar == wide:
            return TensorHandle(src.data.view(ml_dtypes.bfloat16).astype(np.float32), wide)
        if src.dtype.scalar == wide and dst_type.scalar == narrow:
            return TensorHandle(src.data.astype(ml_dtypes.bfloat16).view(np.uint16), narrow)
        return own_cast(self, src, dst_type)

    def dot(self, a, b, *others):
        a, b = (cast(self, each, wide) if each.dtype.scalar == narrow else each for each in (a, b))
        return own_dot(self, a, b, *others)

    InterpreterBuilder.create_dot = dot
    for name in ("cast_impl", "create_fp_ext", "create_fp_trunc"):
        setattr(InterpreterBuilder, name, cast)


def scan_errors(case: Case) -> tuple[float, float]:
    import torch

    from bsmamba2.networks.fused_scan import run_kernel
    from bsmamba2.networks.precision import DTYPES
    from bsmamba2.networks.scan import chunked_scan, sequential_scan

    random = torch.Generator().manual_seed(case.length)
    heads = len(case.decays)
    sizes, width = (case.batch, case.length), heads * case.headdim

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    usual = torch.nn.functional.softplus(normal(*sizes, heads) - 2)  # as the networks have it, where the decay is 0
    decays = torch.tensor(case.decays)
    dt = torch.where(torch.rand(usual.shape, generator=random) < 0.7, 0.01, decays)
    dt = torch.where(decays == 0, usual, dt)
    a, d = -15 * torch.rand(heads, generator=random) - 1, normal(heads)
    # x, B and C side by side, as the convolution returns them.
    row = torch.cat([normal(*sizes, width), normal(*sizes, 2 * case.d_state) / case.d_state**0.25], dim=-1)
    x, b, c = row.to(DTYPES[case.precision]).split([width, case.d_state, case.d_state], dim=-1)
    x = x.unflatten(-1, (heads, case.headdim))

    def turned(each: torch.Tensor) -> torch.Tensor:
        return each.flip(1) if case.reverse else each

    ahead = turned(x), turned(dt), a, turned(b), turned(c)
    skipped = d.double()[:, None] * x.double()
    expected = turned(sequential_scan(*(each.double() for each in ahead))) + skipped
    kernel = run_kernel(x, dt, a, b, c, d, case.reverse)
    without = run_kernel(x, dt, a, b, c, None, case.reverse)
    chunked = turned(chunked_scan(*ahead)) + (d[:, None] * x).to(x.dtype)

    def error(found: torch.Tensor, expected: torch.Tensor) -> float:
        by_head = (0, 1, 3)
        return float(((found.double() - expected).abs().amax(by_head) / expected.abs().amax(by_head)).max())

    return max(error(kernel, expected), error(without, expected - skipped)), error(chunked, expected)


def block_errors(case: Case) -> tuple[float, float]:
    """A bidirectional block with the kernel, and with the chunked form, against the chunked form in float64."""
    import torch

    from bsmamba2.config import ModelConfig
    from bsmamba2.networks.fused_scan import run_kernel
    from bsmamba2.networks.mamba2 import Mamba2, MambaBlock
    from bsmamba2.networks.precision import DTYPES, to_precision
    from bsmamba2.networks.scan import Form, depthwise_conv

    torch.manual_seed(0)
    block = MambaBlock(ModelConfig(dim=32, headdim=case.headdim, d_state=case.d_state))
    x = torch.randn(case.batch, case.length, 32)
    with torch.inference_mode():
        expected = block.double()(x.double())
        to_precision(block.float(), case.precision)
        found = [block(x.to(DTYPES[case.precision]))]
        for module in block.modules():
            if isinstance(module, Mamba2):
                module.form = Form(run_kernel, depthwise_conv, is_whole=True)
        found.append(block(x.to(DTYPES[case.precision])))
    chunked, kernel = (float((each - expected).norm() / expected.norm()) for each in found)
    return kernel, chunked


def main() -> None:
    with_bfloat16()
    cases = [Case(*each) for each in json.load(sys.stdin)]
    print(json.dumps([{"scan": scan_errors, "block": block_errors}[case.what](case) for case in cases]))


if __name__ == "__main__":
    main()
