"""The full-size network, with weights drawn from a seed: exported, run on a song, and measured against PyTorch.

    python benchmarks/full_size.py [--kind NAME] [--song SONG] [options of bsm-bench]

NAME is one of `benchmarks/networks.py`. Exports the published size, runs bsm-run on a song where one is given, then
bsm-bench on the engine and the checkpoint: the same chunk through both. Prints seconds and peak memory of the commands,
and what bsm-bench prints. Needs Linux, 8 GB of memory and ten minutes to half an hour on two cores.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from networks import NETWORKS, network

from bsmamba2.checkpoint import save_checkpoint


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=NETWORKS, default="mamba2")
    parser.add_argument("--song", type=Path)
    args, of_bench = parser.parse_known_args()

    with tempfile.TemporaryDirectory() as folder:
        checkpoint, engine = Path(folder) / "full.safetensors", Path(folder) / "full.onnx"
        save_checkpoint(network(args.kind), checkpoint)
        frames = str(NETWORKS[args.kind][1])
        done = {
            "bsm-export": run_command("export.cli", "--ckpt", str(checkpoint), "-o", str(engine), "--frames", frames)
        }
        if args.song:
            output = str(Path(folder) / "separated")
            done[f"bsm-run {args.song.name}"] = run_command("runtime.cli", str(engine), str(args.song), "-o", output)
        print("\n| what | seconds | peak memory, GB |\n| --- | --- | --- |")
        for name, (seconds, peak) in done.items():
            print(f"| {name} | {seconds:.1f} | {peak:.2f} |")
        print(flush=True)
        run_command("export.checks.bench_cli", str(engine), "--ckpt", str(checkpoint), *of_bench)


if __name__ == "__main__":
    main()
