"""Which operators an engine's time goes to on this CPU: ONNX Runtime's own profile, summed by kind.

    python benchmarks/operators.py ENGINE.onnx [--frames 801] [--threads N] [--runs 3]

Operators inside a Scan count by their own kinds; Scan itself is left out. Times are those of all runs after the first;
kinds that take less than half a percent are left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime as ort

from runtime.backends.onnxruntime import session_options
from runtime.bench.machine import describe_machine
from runtime.engine.cpu import default_threads
from runtime.engine.reading import read_manifest

CONTAINERS = {"Scan", "Loop", "If"}  # their time is that of the operators inside


def times(profile: Path) -> dict[str, list[float]]:
    """Seconds of every call of a kind of operator, without those of the first run."""
    events = json.loads(profile.read_text())
    runs = sorted(event["ts"] + event["dur"] for event in events if event["name"] == "model_run")
    found: dict[str, list[float]] = defaultdict(list)
    for event in events:
        kind = event.get("args", {}).get("op_name", "")
        if event["name"].endswith("_kernel_time") and kind not in CONTAINERS and event["ts"] > runs[0]:
            found[kind].append(event["dur"] * 1e-6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    machine, manifest = describe_machine(), read_manifest(args.engine)
    shape = manifest.input_shape(1, args.frames or manifest.frames.opt)
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(args.threads)
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "run")
        session = ort.InferenceSession(args.engine, options, ["CPUExecutionProvider"])
        mixture = np.random.default_rng(0).standard_normal(shape, np.float32)
        for _ in range(1 + args.runs):
            session.run([manifest.output.name], {manifest.input.name: mixture})
        found = times(Path(session.end_profiling()))
    total = sum(map(sum, found.values()))
    print(f"{machine.cpu}, onnxruntime {ort.__version__}, {args.threads} threads", end="")
    print(f", load average before: {machine.load_average:.1f}; {total / args.runs:.2f} s a run in operators\n")
    print("| operator | calls a run | s a run | share |\n| --- | --- | --- | --- |")
    for kind, durations in sorted(found.items(), key=lambda item: -sum(item[1])):
        seconds = sum(durations)
        if seconds < 0.005 * total:
            break
        print(f"| {kind} | {len(durations) // args.runs} | {seconds / args.runs:.3f} | {seconds / total:.1%} |")


if __name__ == "__main__":
    main()
