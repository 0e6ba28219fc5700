"""Whether the threads of ONNX Runtime should spin or sleep while they have no work, on a quiet and on a busy machine.

    python benchmarks/spinning.py ENGINE.onnx [--threads N] [--rounds 5] [--load 0 1 2]

`--load` are numbers of processes that compute all the time beside it. Seconds are those of a run of one chunk, in
turns, each form in a process of its own; CPU seconds are those of all threads of that process, and of a pause after it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from turns import Form, Opened, opened

from runtime.bench.machine import describe_machine
from runtime.engine.cpu import default_threads
from runtime.engine.reading import read_manifest

BUSY = "while True: sum(range(100000))"
PAUSE = 0.05  # s after each run, in which bsm-run transforms and writes: threads that spin go on for a moment
SPIN, STOP = "session.intra_op.allow_spinning", "session.force_spinning_stop"


@dataclass(frozen=True)
class Counted(Form):
    def open(self) -> CountedRuns:
        return CountedRuns(self)


class CountedRuns(Opened):
    def run(self) -> tuple[float, float]:
        """Seconds of a run, and CPU seconds of it and the pause after it."""
        before = time.process_time()
        seconds = self.seconds()
        time.sleep(PAUSE)
        return seconds, time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--load", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    manifest = read_manifest(args.engine)
    shape = manifest.input_shape(1, manifest.frames.opt)
    forms = [
        Counted("sleep", args.engine, shape, args.threads, entries={SPIN: "0"}),
        Counted("spin", args.engine, shape, args.threads, entries={SPIN: "1"}),
        Counted("spin, but not between runs", args.engine, shape, args.threads, entries={SPIN: "1", STOP: "1"}),
        Counted("1 thread", args.engine, shape, 1, entries={SPIN: "0"}),
    ]
    machine = describe_machine()
    print(f"{machine.cpu}, {machine.usable_cores} CPUs, onnxruntime {machine.packages['onnxruntime']}", end="")
    print(f", load average before: {machine.load_average}; {args.threads} threads, {args.rounds} rounds\n")
    print("| more processes | threads without work | median, s | range, s | ratio to sleep | CPU, s | range, s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with opened(forms, "run") as workers:
        for load in args.load:
            others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(load)]  # noqa: S603
            try:
                runs: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
                for _ in range(args.rounds):
                    for name, worker in workers.items():
                        runs[name].append(worker.call("run"))
            finally:
                for each in others:
                    each.kill()
                    each.wait()
            _print(load, runs)


def _print(load: int, runs: dict[str, list[tuple[float, float]]]) -> None:
    first = [seconds for seconds, _ in next(iter(runs.values()))]
    for name, each in runs.items():
        seconds, cpu = [wall for wall, _ in each], [busy for _, busy in each]
        ratios = [a / b for a, b in zip(seconds, first, strict=True)]
        print(
            f"| {load} | {name} | {statistics.median(seconds):.3f} | {min(seconds):.3f} to {max(seconds):.3f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
            f"{statistics.median(cpu):.3f} | {min(cpu):.3f} to {max(cpu):.3f} |"
        )


if __name__ == "__main__":
    main()
