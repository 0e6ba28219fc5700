"""Engine against PyTorch at full size, with weights drawn from a seed.

    python benchmarks/full_size.py [--kind mamba2|transformer] [--rounds 3] [--song SONG]

Exports the published size, runs the same 8 s chunk through the engine and through the PyTorch network in turn, each
in a process of its own, and, given a song, runs bsm-run on it. Prints times, their ratio and every process's peak
memory. Needs Linux, 8 GB of memory and about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

SIZES = {"mamba2": {"dim": 256}, "transformer": {"dim": 384}}
FRAMES = 801


def peak_gb(pid: int) -> float:
    """Peak resident memory of a living process."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) * 1024 / 1e9 if match else 0.0


def run_command(module: str, *args: str) -> tuple[float, float]:
    """Seconds and peak GB of one of the project's commands."""
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen([sys.executable, "-m", module, *args])  # noqa: S603
    while process.poll() is None:
        peak = max(peak, peak_gb(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"{module} failed")
    return time.perf_counter() - start, peak


def contender(name: str, path: str, pipe: Connection) -> None:
    """Run a chunk each time the parent asks, and answer with its seconds; finally with the peak memory."""
    import numpy as np

    mixture = np.random.default_rng(0).standard_normal((1, FRAMES, 1025, 2, 2)).astype(np.float32)
    if name == "engine":
        from runtime.backends.onnxruntime import OnnxRuntimeBackend

        run = OnnxRuntimeBackend(Path(path), threads=None).run
    else:
        import torch

        from bsmamba2.checkpoint import load_checkpoint

        model = load_checkpoint(path).model()
        torch.set_grad_enabled(False)

        def run(x: np.ndarray) -> np.ndarray:
            return model(torch.from_numpy(x)).numpy()

    while pipe.recv() == "run":
        start = time.perf_counter()
        run(mixture)
        pipe.send(time.perf_counter() - start)
    pipe.send(peak_gb(os.getpid()))


def interleaved(paths: dict[str, str], rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each round and peak GB of each contender, which take turns."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, path in paths.items():
        pipes[name], child = context.Pipe()
        processes.append(context.Process(target=contender, args=(name, path, child)))
        processes[-1].start()
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send("run")
            seconds[name].append(pipe.recv())
    peaks = {}
    for name, pipe in pipes.items():
        pipe.send("stop")
        peaks[name] = pipe.recv()
    for process in processes:
        process.join()
    return seconds, peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=SIZES, default="mamba2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--song", type=Path)
    args = parser.parse_args()

    import torch

    from bsmamba2.checkpoint import save_checkpoint
    from bsmamba2.config import ModelConfig
    from bsmamba2.model import BandSplitSeparator

    with tempfile.TemporaryDirectory() as folder:
        checkpoint, engine = Path(folder) / "full.safetensors", Path(folder) / "full.onnx"
        torch.manual_seed(0)
        save_checkpoint(BandSplitSeparator(ModelConfig(kind=args.kind, **SIZES[args.kind])), checkpoint)
        export = run_command("export.cli", "--ckpt", str(checkpoint), "-o", str(engine), "--frames", str(FRAMES))
        song = None
        if args.song:
            song = run_command("runtime.cli", str(engine), str(args.song), "-o", str(Path(folder) / "separated"))
        seconds, peaks = interleaved({"engine": str(engine), "torch": str(checkpoint)}, args.rounds)

    name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"\n{args.kind}, {os.cpu_count()} cores of {name[1] if name else platform.machine()}, {platform.system()}")
    print("| what | first run, s | median, s | peak memory, GB |\n| --- | --- | --- | --- |")
    for name, label in (("engine", "engine in ONNX Runtime, 8 s chunk"), ("torch", "PyTorch eager, the same chunk")):
        print(f"| {label} | {seconds[name][0]:.1f} | {statistics.median(seconds[name]):.1f} | {peaks[name]:.2f} |")
    ratios = [b / a for a, b in zip(seconds["engine"], seconds["torch"], strict=True)]
    print(f"| ratio, PyTorch / engine | | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | |")
    print(f"| bsm-export | {export[0]:.0f} | | {export[1]:.2f} |")
    if song:
        print(f"| bsm-run {args.song.name} | {song[0]:.1f} | | {song[1]:.2f} |")


if __name__ == "__main__":
    main()
