"""TensorRT-RTX plans of the published sizes, built on this machine, with weights drawn from a seed.

    python benchmarks/plans.py [--kind NAME ...] [--precision fp32|fp16|bf16 ...] [--scan ...] [--io ...]
                               [--batch-max N ...]

NAME is one of `benchmarks/networks.py`. Each graph is traced and each plan is built in a process of its own, for 8.6 +
8.9 + 12.0 together, batch 1 to N (1 and 4). Prints times, the builder's peak memory, nodes, the plan's bytes and those
of the weights, the GPU memory that the plan reserves for intermediate results, as the builder tells it, and what the
plan itself holds: its different kernels, and how its products accumulate. Needs no GPU; parity is not checked here
(bsm-export does). Linux, 8 GB of memory, a minute or two a row on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import re
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from networks import NETWORKS, network

from runtime.engine.manifest import IOS, Range

# What the number in a plan stands for was found with products whose types are known (tests/export/plan/test_sums.py).
ACCUMULATION = {b"0": "in their own type", b"2": "in float32"}


def kernels_of(plan: bytes) -> int:
    """The different kernels that TensorRT-RTX has fused, by their names in the plan."""
    return len(set(re.findall(rb"__myl_\w+", plan)))


def sums_of(plan: bytes) -> str:
    """The matrix products in a plan, by the type that they accumulate in."""
    found = Counter(re.findall(rb"accumulation_type=(\d+)", plan))
    return ", ".join(f"{number} {ACCUMULATION.get(kind, kind.decode())}" for kind, number in sorted(found.items()))


def trace(kind: str, precision: str, scan: str, io: str, graph: str) -> dict[str, Any]:
    """Write the graph for a GPU; its nodes, with those of functions, and the bytes of its weights."""
    from export.graph.save import save
    from export.graph.to_onnx import to_onnx

    model, frames = network(kind), NETWORKS[kind][1]
    start = time.perf_counter()
    made = to_onnx(model, Range(frames, frames, frames), precision, scan, "gpu", io=io)
    seconds = time.perf_counter() - start
    save(made, Path(graph))
    nodes = len(made.graph.node) + sum(len(function.node) for function in made.functions)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"trace": seconds, "nodes": nodes, "weights": parameters * (4 if precision == "fp32" else 2)}


def build(kind: str, precision: str, io: str, graph: str, plan: str, batch_max: int) -> dict[str, Any]:
    from export.describe import tensors_of
    from export.plan.build import build_plan
    from export.plan.choose import Asked, plan_build

    start, (configured, frames) = time.perf_counter(), NETWORKS[kind]
    mixture, _ = tensors_of(configured(), io, Range(frames, frames, frames))
    shapes = [(batch, *map(int, mixture.shape[1:])) for batch in (1, 1, batch_max)]
    how = plan_build(Asked("tensorrt-rtx"), precision)
    memory = build_plan(Path(graph), Path(plan), "benchmark", shapes, how)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"build": time.perf_counter() - start, "peak": peak, "memory": memory or 0}


def in_a_process(function: Any, *args: Any) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return dict(pool.apply(function, args))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=NETWORKS, default=["mamba2", "transformer"])
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "bf16"])
    parser.add_argument("--scan", nargs="+", default=["chunked"])
    parser.add_argument("--io", nargs="+", default=["spectrum"], choices=IOS)
    parser.add_argument("--batch-max", nargs="+", type=int, default=[1, 4])
    args = parser.parse_args()
    memories = [f"GPU memory at batch {size}, GB" for size in args.batch_max]
    columns = ["network", "precision", "scan", "io", "nodes", "tracing, s", "building, s", "peak, GB", "plan, MB"]
    columns += ["plan / weights", *memories, "kernels", "products that accumulate"]
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|", flush=True)
    for kind, precision, scan, io in itertools.product(args.kind, args.precision, args.scan, args.io):
        with tempfile.TemporaryDirectory() as folder:
            graph, plan = f"{folder}/full.onnx", f"{folder}/full.plan"
            traced = in_a_process(trace, kind, precision, scan, io, graph)
            built = [in_a_process(build, kind, precision, io, graph, plan, size) for size in args.batch_max]
            content = Path(plan).read_bytes()
        memory = " | ".join(f"{each['memory'] / 1e9:.2f}" for each in built)
        print(
            f"| {kind} | {precision} | {scan} | {io} | {traced['nodes']} | {traced['trace']:.0f} | "
            f"{built[0]['build']:.1f} | {built[0]['peak']:.2f} | {len(content) / 1e6:.1f} | "
            f"{len(content) / traced['weights']:.2f} | {memory} | {kernels_of(content)} | {sums_of(content)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
