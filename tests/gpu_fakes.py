"""Contenders of benchmarks/gpu.py that need no GPU: right, wrong, and failing in every way. Run in the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from on_gpu.measuring import CannotRun

HALF = 0.5  # the stems are the mixture times this


class Right:
    executor = "fake"
    notes = ()

    def __init__(self, work, precision, **options):
        self.options = options

    def run(self, mixture):
        self.notes = [f"{mixture.ndim} axes"]
        return HALF * mixture[:, None]


class Swapped(Right):
    """The items of a batch in another order."""

    def run(self, mixture):
        return super().run(mixture)[::-1]


class Noisy(Right):
    def run(self, mixture):
        print('{"failed": "printed by a library"}')
        os.system("echo printed by a program")
        return super().run(mixture)


class Nan(Right):
    def run(self, mixture):
        return np.full_like(super().run(mixture), np.nan)


class Full(Right):
    """Takes one chunk at a time."""

    def run(self, mixture):
        if len(mixture) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().run(mixture)


class Crashing(Right):
    """After the first batch size."""

    def run(self, mixture):
        if len(mixture) > 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().run(mixture)


class Hanging(Right):
    """With a process of its own, whose number it leaves behind."""

    def run(self, mixture):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
        Path(self.options["pid_file"]).write_text(str(child.pid))
        time.sleep(100)


def unwilling(work, precision):
    raise CannotRun("it needs a better machine")


def broken(work, precision):
    raise ValueError("it does not start\nsecond line")


def step(work, emit, fails=False):
    """Made once, though several need it."""
    path = Path(work.folder) / "made"
    if fails:
        raise ValueError("nothing was made")
    path.touch(exist_ok=False)


def scan(work, emit, precision, error=1e-4):
    emit(executor="fake")
    seconds = {"median": 0.002, "min": 0.001, "max": 0.003, "rounds": 3}
    for axis in ("time", "sub-bands"):
        found = {"axis": axis, "sequences": 4, "length": 8, "flops": 10**9, "bytes": 10**6}
        emit(scan={**found, "forward_error": error, "reverse_error": error, "within": error < 1e-3, "seconds": seconds})
