"""ONNX Runtime and OpenVINO on the same engine, one chunk at a time, in turns.

    python benchmarks/in_openvino.py ENGINE.onnx ... [--bf16] [--threads N] [--rounds 5]

`--bf16` adds OpenVINO in bfloat16, on a CPU that has it. The first time an engine is opened in OpenVINO its stems are
compared with ONNX Runtime's, and the result is printed. Needs the memory of all of them at once.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from turns import compare

from runtime.backends import open_backend
from runtime.engine.cpu import default_threads
from runtime.engine.reading import read_manifest


@dataclass(frozen=True)
class Contender:
    """Opened in a process of its own."""

    name: str
    engine: Path
    device: str
    hint: str | None
    threads: int | None
    optional: bool = False

    def open(self) -> Opened:
        return Opened(self)


class Opened:
    def __init__(self, contender: Contender) -> None:
        manifest = read_manifest(contender.engine, to_open=True)
        start = time.perf_counter()
        self._backend = open_backend(contender.engine, manifest, contender.threads, contender.device, contender.hint)
        opened = time.perf_counter() - start
        self.executor = self._backend.name
        for line in (f"{contender.name}: opened in {opened:.1f} s", *self._backend.notes):
            print(line, file=sys.stderr, flush=True)
        shape = manifest.input_shape(1, manifest.frames.opt)
        self._mixture = np.random.default_rng(0).standard_normal(shape, np.float32)

    def seconds(self) -> float:
        start = time.perf_counter()
        self._backend.run(self._mixture)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", type=Path, nargs="+")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    ways = {"ONNX Runtime": ("cpu", None), "OpenVINO": ("openvino", "f32")}
    if args.bf16:
        ways["OpenVINO, bf16"] = ("openvino", "bf16")
    for engine in args.engines:
        forms = [Contender(name, engine, *way, args.threads) for name, way in ways.items()]
        compare(forms, args.rounds, f"{engine.stem}, {args.threads} threads")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
