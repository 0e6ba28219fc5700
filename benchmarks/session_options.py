"""What settings of ONNX Runtime run an engine fastest on a CPU: session options, threads, and batches of chunks.

    python benchmarks/session_options.py ENGINE.onnx [--frames 801] [--threads N] [--rounds 5]

The first row is what bsm-run does. Seconds are per chunk. Needs some GB for every row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from turns import Form, compare

from runtime.engine.cpu import default_threads
from runtime.engine.reading import read_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    manifest, threads = read_manifest(args.engine), args.threads
    one = manifest.input_shape(1, args.frames or manifest.frames.opt)
    two = (2, *one[1:])

    def form(name: str, shape: tuple[int, ...] = one, threads: int = threads, **asked: object) -> Form:
        return Form(name, args.engine, shape, threads, **asked)  # type: ignore[arg-type]

    forms = [
        form(f"as bsm-run: {threads} threads, one chunk"),
        form("memory pattern on", options={"enable_mem_pattern": True}),
        form("memory arena off", options={"enable_cpu_mem_arena": False}),
        form("threads that spin", entries={"session.intra_op.allow_spinning": "1"}),
        form("weights not packed in advance", entries={"session.disable_prepacking": "1"}),
        form("denormals as zero", entries={"session.set_denormal_as_zero": "1"}),
        form("1 thread", threads=1),
        form(f"{threads} chunks side by side, 1 thread each", threads=1, side_by_side=threads),
    ]
    if manifest.batch.max >= 2:
        forms.append(form(f"2 chunks as a batch, {threads} threads", two))
    compare(forms, args.rounds, "session")


if __name__ == "__main__":
    main()
