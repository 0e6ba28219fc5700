"""The forms of the scan against each other in ONNX Runtime on the CPU: one full-size layer, 8 s, weights from a seed.

    python benchmarks/scan_forms.py [--rounds 5]

No form is folded (export.graph.fold), so that they differ in the scan alone. They take turns in one process. Prints the
median and the range of each, its ratio to chunked, nodes and file size. Minutes on two cores, 8 GB.
For plans: python benchmarks/plans.py --kind mamba2 --scan chunked unrolled custom.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import torch

from bsmamba2.config import ModelConfig
from bsmamba2.networks.model import BandSplitSeparator
from export.graph import to_onnx
from export.graph.nodes import nodes_of
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.engine.manifest import Range

FRAMES = 801
SCANS = ("chunked", "unrolled", "custom")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = BandSplitSeparator(ModelConfig(depth=1)).eval()
    mixture = np.random.default_rng(0).standard_normal((1, FRAMES, 1025, 2, 2)).astype(np.float32)
    backends, sizes, nodes = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for scan in SCANS:
            path = Path(folder) / f"{scan}.onnx"
            with patch.object(to_onnx, "fold_dual_path", lambda *_: None):
                graph = to_onnx.to_onnx(model, Range(FRAMES, FRAMES, FRAMES), "fp32", scan, "cpu")
            onnx.save(graph, path)
            sizes[scan] = path.stat().st_size / 1e6
            bodies = [node for function in graph.functions for node in function.node]
            nodes[scan] = len([*nodes_of(graph.graph.node), *bodies])  # those inside of Scans, too
            backends[scan] = OnnxRuntimeBackend(path, None)
    for backend in backends.values():
        backend.run(mixture)
    seconds: dict[str, list[float]] = {scan: [] for scan in SCANS}
    for _ in range(args.rounds):
        for scan, backend in backends.items():
            start = time.perf_counter()
            backend.run(mixture)
            seconds[scan].append(time.perf_counter() - start)
    print("| scan | median, s | range, s | time / chunked | nodes | ONNX, MB |\n| --- | --- | --- | --- | --- | --- |")
    for scan in SCANS:
        ratios = [a / b for a, b in zip(seconds[scan], seconds["chunked"], strict=True)]
        each = seconds[scan]
        print(
            f"| {scan} | {statistics.median(each):.2f} | {min(each):.2f} to {max(each):.2f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {nodes[scan]} | "
            f"{sizes[scan]:.1f} |"
        )


if __name__ == "__main__":
    main()
