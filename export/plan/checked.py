"""Build a plan and check it: its header and, if this machine has one of its GPUs, what it computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from export.files import Report, described
from export.plan.build import build_plan
from export.plan.choose import Build
from export.plan.watched import Progress
from export.proof.verify import Expected, verify_plan
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
    made = Plan(
        file=None,
        flavour=build.flavour,
        version=build.version,
        compute_capabilities=list(build.compute_capabilities),
        gpu=build.gpu.name if build.flavour == "tensorrt" and build.gpu is not None else None,
        hardware=build.hardware,
        version_compatible=build.version_compatible,
        memory={},
        parity=None,
    )
    manifest = replace(manifest, plan=made)
    needed = build_plan(graph, plan, manifest.inside_plan(), manifest.input_shapes, build, progress)
    memory = {} if needed is None else {str(manifest.batch.max): needed}
    made = replace(made, file=described(plan), memory=memory)
    manifest = replace(manifest, plan=made)
    if build.why_not_run:
        return manifest, build.why_not_run
    parity = verify_plan(plan, manifest, expected, report)
    return replace(manifest, plan=replace(made, parity=parity)), ""
