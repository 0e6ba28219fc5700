"""Many short songs: processes against threads, whole commands, by turns.

    python benchmarks/jobs.py ENGINE.onnx [--songs 60] [--seconds 5] [--rounds 2] [--load 0] [--only NAME ...]
    python benchmarks/jobs.py ENGINE.onnx --table [--jobs 1 2] [--threads 1 2] [--songs 6]

`--load` is a number of processes that compute all the time beside it. Seconds are those from the start of the first
command to the end of the last one, the opening of the engine included.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

from runtime.bench.machine import describe_machine

BUSY = "while True: sum(range(100000))"
RATE = 44100


@dataclass(frozen=True)
class Contender:
    """Commands that run at the same time, each the arguments of `bsm-run` after the songs; SHARED is a new folder."""

    name: str
    commands: tuple[tuple[str, ...], ...]

    def seconds(self, engine: Path, songs: Path, folder: Path) -> float:
        out = folder / "out"
        start = time.perf_counter()
        running = [
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "runtime.cli", engine, songs, "-o", out]
                + [str(folder / "shared") if each == "SHARED" else each for each in command],
                stdout=subprocess.DEVNULL,
            )
            for command in self.commands
        ]
        codes = [process.wait() for process in running]
        seconds = time.perf_counter() - start
        expected = 2 * len(list(songs.iterdir()))
        if any(codes) or len(list(out.iterdir())) != expected:
            raise SystemExit(f"{self.name}: exit codes {codes}, {len(list(out.iterdir()))} of {expected} stems")
        return seconds


ALONE = (("--threads", "1", "--shared", "SHARED"),) * 2
CONTENDERS = (
    Contender("one process", ((),)),
    Contender("--jobs auto", (("--jobs", "auto"),)),
    Contender("--shared, two commands", ALONE),
    *([Contender("--ray local", (("--ray", "local"),))] if importlib.util.find_spec("ray") else []),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--songs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[each.name for each in CONTENDERS])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    contenders = [each for each in CONTENDERS if args.only is None or each.name in args.only]
    if args.table:
        contenders = [
            Contender(f"{jobs} x {threads}", (("--jobs", str(jobs), "--threads", str(threads)),))
            for jobs, threads in product(args.jobs, args.threads)
        ]
    machine = describe_machine()
    print(f"{machine.cpu}, {machine.usable_cores} CPUs, onnxruntime {machine.packages['onnxruntime']}", end="")
    print(f", load average before: {machine.load_average}; {args.songs} songs of {args.seconds:g} s", end="")
    print(f", {args.load} other processes\n", flush=True)
    taken: dict[str, list[float]] = {each.name: [] for each in contenders}
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(args.load)]  # noqa: S603
    try:
        with tempfile.TemporaryDirectory() as temporary:
            songs = make_songs(Path(temporary, "songs"), args.songs, args.seconds)
            for _ in range(args.rounds):
                for each in contenders:
                    with tempfile.TemporaryDirectory(dir=temporary) as folder:
                        taken[each.name].append(each.seconds(args.engine, songs, Path(folder)))
                        print(f"{each.name}: {taken[each.name][-1]:.1f} s", file=sys.stderr, flush=True)
    finally:
        for process in others:
            process.kill()
            process.wait()
    first = taken[contenders[0].name]
    print(f"| {'jobs x threads' if args.table else ''} | seconds | times as fast as the first, each round |")
    print("| --- | --- | --- |")
    for name, seconds in taken.items():
        ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(first, seconds, strict=True))
        print(f"| {name} | {', '.join(f'{each:.1f}' for each in seconds)} | {ratios} |")
    print(f"\nmedian of the first: {statistics.median(first):.1f} s")


def make_songs(folder: Path, number: int, seconds: float) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(number):
        soundfile.write(folder / f"{i:03}.flac", rng.uniform(-0.5, 0.5, (round(seconds * RATE), 2)), RATE)
    return folder


if __name__ == "__main__":
    main()
