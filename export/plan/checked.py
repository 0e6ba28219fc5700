"""Build a plan and check it: its header and, if this machine has one of its GPUs, what it computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from export.files import Report, described
from export.plan.build import Build, Progress, build_plan
from export.proof.verify import Expected, verify_plan
from runtime.engine.gpu import find_gpu
from runtime.engine.manifest import Manifest, Plan


def build_checked(
    manifest: Manifest,
    graph: Path,
    plan: Path,
    build: Build,
    expected: list[Expected],
    report: Report,
    progress: Progress | None,
) -> tuple[Manifest, str]:
    """Build `plan` from `graph` and check it. Returns the manifest with the plan in it, and why it was not run."""
    report(f"building the plan with {build.flavour} {build.version}")
    gpu, why_not = find_gpu()
    full = build.flavour == "tensorrt"
    made = Plan(
        file=None,
        flavour=build.flavour,
        version=build.version,
        compute_capabilities=list(build.compute_capabilities),
        gpu=gpu.name if full and gpu is not None else None,
        hardware="same-gpu" if full else None,
        version_compatible=False,
        memory={},
        parity=None,
    )
    manifest = replace(manifest, plan=made)
    needed = build_plan(graph, plan, manifest.inside_plan(), manifest.batch, manifest.frames, build, progress)
    memory = {} if needed is None else {str(manifest.batch.max): needed}
    made = replace(made, file=described(plan), memory=memory)
    manifest = replace(manifest, plan=made)
    if gpu is None:
        return manifest, f"no NVIDIA GPU here: {why_not}"
    if gpu.capability not in made.compute_capabilities:
        return manifest, f"this GPU, {gpu.name}, has compute capability {gpu.capability}"
    parity = verify_plan(plan, manifest, expected, report)
    return replace(manifest, plan=replace(made, parity=parity)), ""
