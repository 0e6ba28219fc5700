"""TensorRT-RTX plans of the published sizes, built on this machine, with weights drawn from a seed.

    python benchmarks/plans.py [--kind mamba2|transformer ...] [--precision fp32|fp16|bf16 ...] [--scan chunked ...]

Each graph is traced and each plan is built in a process of its own, for 8.0 + 8.6 + 8.9 + 12.0 together, batch 1 to 4,
801 frames. Prints build time, the builder's peak memory, nodes, and the plan's bytes beside those of the weights. Needs
no GPU; parity is not checked here (bsm-export does). Linux, 8 GB of memory, two minutes a row on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES = {"mamba2": {"dim": 256}, "transformer": {"dim": 384}}
FRAMES = 801


def trace(kind: str, precision: str, scan: str, graph: str) -> dict[str, Any]:
    """Write the graph for a GPU; its nodes, with those of functions, and the bytes of its weights."""
    import onnx
    import torch

    from bsmamba2.config import ModelConfig
    from bsmamba2.networks.model import BandSplitSeparator
    from export.graph.to_onnx import to_onnx
    from runtime.engine.manifest import Range

    torch.manual_seed(0)
    model = BandSplitSeparator(ModelConfig(kind=kind, **SIZES[kind]))
    start = time.perf_counter()
    made = to_onnx(model, Range(FRAMES, FRAMES, FRAMES), precision, scan, "gpu")
    seconds = time.perf_counter() - start
    onnx.save(made, graph)
    nodes = len(made.graph.node) + sum(len(function.node) for function in made.functions)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"trace": seconds, "nodes": nodes, "weights": parameters * (4 if precision == "fp32" else 2)}


def build(graph: str, plan: str) -> dict[str, Any]:
    from export.plan.build import build_plan, plan_build
    from runtime.engine.manifest import Range

    start = time.perf_counter()
    frames = Range(FRAMES, FRAMES, FRAMES)
    build_plan(Path(graph), Path(plan), "benchmark", Range(1, 1, 4), frames, plan_build("tensorrt-rtx"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"build": time.perf_counter() - start, "peak": peak, "plan": Path(plan).stat().st_size}


def in_a_process(function: Any, *args: str) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return dict(pool.apply(function, args))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "bf16"])
    parser.add_argument("--scan", nargs="+", default=["chunked"])
    args = parser.parse_args()
    print("| network | precision | scan | nodes | tracing, s | building, s | peak, GB | plan, MB | plan / weights |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in args.kind:
        for precision in args.precision:
            for scan in args.scan:
                with tempfile.TemporaryDirectory() as folder:
                    graph, plan = f"{folder}/full.onnx", f"{folder}/full.plan"
                    row = in_a_process(trace, kind, precision, scan, graph)
                    row |= in_a_process(build, graph, plan)
                print(
                    f"| {kind} | {precision} | {scan} | {row['nodes']} | {row['trace']:.0f} | {row['build']:.1f} | "
                    f"{row['peak']:.2f} | {row['plan'] / 1e6:.1f} | {row['plan'] / row['weights']:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
