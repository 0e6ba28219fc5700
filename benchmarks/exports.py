"""What a whole `bsm-export --trt tensorrt-rtx` takes: seconds of each step and peak memory, by network and precision.

    python benchmarks/exports.py [--kind NAME ...] [--precision NAME ...]

NAME is one of `benchmarks/networks.py`, in its published size with weights drawn from a seed. Prints a table.
Needs Linux, tensorrt-rtx, 8 GB of memory and two to four minutes for each row on two cores; no GPU.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from full_size import peak_gb
from networks import NETWORKS, network

from bsmamba2.checkpoint import save_checkpoint

STEP = re.compile(r"  (.+) \((\d+) s\)")  # as bsm-export tells each step where no terminal is: when it began
STEPS = ("tracing the network", "running PyTorch", "running ONNX Runtime", "building the plan")


def export(checkpoint: Path, engine: Path, frames: int, precision: str) -> tuple[float, float, dict[str, int]]:
    """Seconds, peak memory in GB and the seconds of the steps."""
    options = ["--ckpt", checkpoint, "-o", engine, "--frames", frames, "--precision", precision]
    command = [sys.executable, "-m", "export.cli", *map(str, options), "--trt", "tensorrt-rtx"]
    start, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603
        while process.poll() is None:
            peak = max(peak, peak_gb(process.pid))
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        log.seek(0)
        said = log.read()
    if process.returncode:
        sys.exit(f"bsm-export failed\n{said}")
    began = [(match[1], int(match[2])) for match in STEP.finditer(said)]
    ends = [*(at for _, at in began[1:]), round(seconds)]
    return seconds, peak, {name: end - at for (name, at), end in zip(began, ends, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=NETWORKS, default=["mamba2", "mel-roformer-kim"])
    parser.add_argument("--precision", nargs="+", default=["fp16", "bf16", "fp32"])
    args = parser.parse_args()
    print("| network | precision | whole, s | peak, GB |", *(f"{step}, s |" for step in STEPS))
    print("| --- | --- | --- | --- |" + " --- |" * len(STEPS))
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.kind:
            checkpoint = Path(folder) / "network.safetensors"
            save_checkpoint(network(kind), checkpoint)
            for precision in args.precision:
                seconds, peak, steps = export(checkpoint, Path(folder) / "e.onnx", NETWORKS[kind][1], precision)
                row = [kind, precision, f"{seconds:.0f}", f"{peak:.2f}"]
                row += [str(sum(each for name, each in steps.items() if name.startswith(step))) for step in STEPS]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
