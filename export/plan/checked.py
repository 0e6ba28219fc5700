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
    capabilities = list(build.compute_capabilities)
    manifest = replace(manifest, plan=Plan(None, build.flavour, build.version, capabilities, None))
    build_plan(graph, plan, manifest.inside_plan(), manifest.batch, manifest.frames, build, progress)
    file = described(plan)
    manifest = replace(manifest, plan=Plan(file, build.flavour, build.version, capabilities, None))
    gpu, why_not = find_gpu()
    if gpu is None:
        return manifest, f"no NVIDIA GPU here: {why_not}"
    if gpu.capability not in capabilities:
        return manifest, f"this GPU, {gpu.name}, has compute capability {gpu.capability}"
    parity = verify_plan(plan, manifest, expected, report)
    return replace(manifest, plan=Plan(file, build.flavour, build.version, capabilities, parity)), ""
