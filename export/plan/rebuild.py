"""`bsm-export --rebuild NAME`: build the plan again from the ONNX file beside it, without a checkpoint."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import onnx

from export.errors import ExportError
from export.files import Exported, Report, put_in_place, writing
from export.graph.save import save
from export.graph.widened import widened
from export.plan.build import NO_PROBES
from export.plan.checked import build_checked
from export.plan.choose import HARDWARE, Asked, Build, plan_build
from export.plan.watched import Progress
from export.proof.blockwise import BlockwiseBackend
from export.proof.verify import Expected
from runtime.backends import Backend
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.dsp.signal import signal_input
from runtime.engine.manifest import METADATA_KEY, Manifest, Plan
from runtime.engine.reading import read_manifest


def rebuild_engine(
    name: Path,
    asked: Asked,
    report: Report = lambda step: None,
    progress: Progress | None = None,
    note: Report = lambda text: None,
) -> Exported:
    """Build `name`.plan from `name`.onnx. What is not asked for is taken from the earlier plan, if any.

    `note` is called with each note of the build. If the plan can run here, it is compared with the ONNX file in ONNX
    Runtime. Raises ManifestError, ExportError.
    """
    graph = name.with_name(name.name + ".onnx")
    manifest = read_manifest(graph)
    inside = {prop.key: prop.value for prop in onnx.load(graph, load_external_data=False).metadata_props}.get(
        METADATA_KEY
    )
    if inside != manifest.inside_onnx():
        raise ExportError(
            f"{graph}: the manifest beside it is not the one it was exported with: export it again from its checkpoint"
        )
    if manifest.probes:
        raise ExportError(f"{graph}: was exported with --probe, but {NO_PROBES}: export it again without --probe")
    build = plan_build(_as_before(asked, manifest.plan), manifest.precision, manifest.scan)
    for each in build.notes:
        note(each)
    expected = [] if build.why_not_run else _expected(graph, manifest, report)
    return rebuild_plan(name, manifest, build, expected, report, progress)


def _as_before(asked: Asked, before: Plan | None) -> Asked:
    """What is asked for, with the choices of the earlier plan where there are none, if it is of the same flavour."""
    if before is None or asked.flavour not in (None, before.flavour):
        return asked
    if before.flavour == "tensorrt-rtx":
        return replace(
            asked,
            flavour=before.flavour,
            compute_capabilities=asked.compute_capabilities or tuple(before.compute_capabilities),
        )
    words = {word: value for value, word in HARDWARE.items()}
    return replace(
        asked,
        flavour=before.flavour,
        hardware=asked.hardware or words[before.hardware or "same-gpu"],
        version_compatible=asked.version_compatible or before.version_compatible,
    )


def rebuild_plan(
    name: Path,
    manifest: Manifest,
    build: Build,
    expected: list[Expected],
    report: Report = lambda step: None,
    progress: Progress | None = None,
) -> Exported:
    """Build `name`.plan again from `name`.onnx, which `manifest` describes; rewrite `name`.json. Raises ExportError."""
    with writing(name, with_plan=True) as (folder, finals):
        plan = folder / finals.plan.name
        manifest, not_run = build_checked(manifest, finals.onnx, plan, build, expected, report, progress)
        report("writing the files")
        put_in_place(manifest, folder, replace(finals, moved=(finals.plan, finals.manifest)))
    return Exported(finals.onnx, finals.plan, finals.manifest, manifest, not_run=not_run)


def _expected(graph: Path, manifest: Manifest, report: Report) -> list[Expected]:
    """The graph's own stems of the test signal, in ONNX Runtime: it passed the check against PyTorch."""
    report("running ONNX Runtime on the test signal")
    mixture = signal_input(manifest.stft, manifest.model.channels, manifest.frames.opt, manifest.io)
    with tempfile.TemporaryDirectory() as folder:
        if manifest.precision == "bf16":
            save(widened(onnx.load(graph)), Path(folder) / graph.name)
            graph = Path(folder) / graph.name
        for_gpus = manifest.target == "gpu"
        backend: Backend = BlockwiseBackend(graph) if for_gpus else OnnxRuntimeBackend(graph, threads=None)
        with closing(backend):
            return [Expected(manifest.frames.opt, mixture, backend.run(mixture))]
