"""The full-size network, with weights drawn from a seed: exported, run on a song, and measured against PyTorch.

    python benchmarks/full_size.py [--kind mamba2|transformer] [--song SONG] [options of bsm-bench]

Exports the published size, runs bsm-run on a song where one is given, then bsm-bench on the engine and the checkpoint:
the same 8 s chunk through both. Prints seconds and peak memory of the commands, and what bsm-bench prints. Needs Linux,
8 GB of memory and about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=SIZES, default="mamba2")
    parser.add_argument("--song", type=Path)
    args, of_bench = parser.parse_known_args()

    import torch

    from bsmamba2.checkpoint import save_checkpoint
    from bsmamba2.config import ModelConfig
    from bsmamba2.networks.model import BandSplitSeparator

    with tempfile.TemporaryDirectory() as folder:
        checkpoint, engine = Path(folder) / "full.safetensors", Path(folder) / "full.onnx"
        torch.manual_seed(0)
        save_checkpoint(BandSplitSeparator(ModelConfig(kind=args.kind, **SIZES[args.kind])), checkpoint)
        done = {
            "bsm-export": run_command(
                "export.cli", "--ckpt", str(checkpoint), "-o", str(engine), "--frames", str(FRAMES)
            )
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
