"""TensorRT-RTX plans of the published sizes, built on this machine, with weights drawn from a seed.

    python benchmarks/plans.py [--kind NAME ...] [--precision fp32|fp16|bf16 ...] [--scan chunked ...] [--batch-max N]

NAME is one of `benchmarks/networks.py`. Each graph is traced and each plan is built in a process of its own, for 8.0 +
8.6 + 8.9 + 12.0 together, batch 1 to N (4). Prints build time, the builder's peak memory, nodes, the plan's bytes
beside those of the weights, and the GPU memory that the plan reserves for intermediate results, as the builder tells
it. Needs no GPU; parity is not checked here (bsm-export does). Linux, 8 GB of memory, some minutes a row on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from networks import NETWORKS, network

from runtime.engine.manifest import Range


def trace(kind: str, precision: str, scan: str, graph: str) -> dict[str, Any]:
    """Write the graph for a GPU; its nodes, with those of functions, and the bytes of its weights."""
    from export.graph.save import save
    from export.graph.to_onnx import to_onnx

    model, frames = network(kind), NETWORKS[kind][1]
    start = time.perf_counter()
    made = to_onnx(model, Range(frames, frames, frames), precision, scan, "gpu")
    seconds = time.perf_counter() - start
    save(made, Path(graph))
    nodes = len(made.graph.node) + sum(len(function.node) for function in made.functions)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"trace": seconds, "nodes": nodes, "weights": parameters * (4 if precision == "fp32" else 2)}


def build(kind: str, graph: str, plan: str, batch_max: int) -> dict[str, Any]:
    from export.plan.build import build_plan
    from export.plan.choose import Asked, plan_build

    start, frames = time.perf_counter(), NETWORKS[kind][1]
    sizes = Range(1, 1, batch_max), Range(frames, frames, frames)
    activations = build_plan(Path(graph), Path(plan), "benchmark", *sizes, plan_build(Asked("tensorrt-rtx"), "fp32"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    seconds, size = time.perf_counter() - start, Path(plan).stat().st_size
    return {"build": seconds, "peak": peak, "plan": size, "activations": activations or 0}


def in_a_process(function: Any, *args: Any) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return dict(pool.apply(function, args))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=NETWORKS, default=["mamba2", "transformer"])
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "bf16"])
    parser.add_argument("--scan", nargs="+", default=["chunked"])
    parser.add_argument("--batch-max", type=int, default=4)
    args = parser.parse_args()
    columns = "network", "precision", "scan", "nodes", "tracing, s", "building, s", "peak, GB", "plan, MB"
    print(f"| {' | '.join(columns)} | plan / weights | activations, GB |\n{'| --- ' * 10}|", flush=True)
    for kind in args.kind:
        for precision in args.precision:
            for scan in args.scan:
                with tempfile.TemporaryDirectory() as folder:
                    graph, plan = f"{folder}/full.onnx", f"{folder}/full.plan"
                    row = in_a_process(trace, kind, precision, scan, graph)
                    row |= in_a_process(build, kind, graph, plan, args.batch_max)
                print(
                    f"| {kind} | {precision} | {scan} | {row['nodes']} | {row['trace']:.0f} | {row['build']:.1f} | "
                    f"{row['peak']:.2f} | {row['plan'] / 1e6:.1f} | {row['plan'] / row['weights']:.2f} | "
                    f"{row['activations'] / 1e9:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
