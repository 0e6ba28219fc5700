"""`export_engine`: from a checkpoint to NAME.onnx, NAME.json and, for TensorRT, NAME.plan.

Nothing appears under these names unless it computes what PyTorch does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from bsmamba2.checkpoint import Checkpoint
from bsmamba2.config import StftConfig
from export.describe import describe, model_of
from export.errors import ExportError
from export.graph.check_graph import check_graph
from export.graph.to_onnx import to_onnx
from export.plan.build import Build, Progress, build_plan
from export.proof.record import recorded_wave
from export.proof.reference import reference_of
from export.proof.verify import TOLERANCES, Recorded, record, verify, verify_plan
from runtime.engine.gpu import find_gpu
from runtime.engine.manifest import (
    METADATA_KEY,
    SCANS,
    TARGETS,
    EngineFile,
    Manifest,
    Plan,
    Range,
    probe_tensors,
    sha256_of,
)
from runtime.parity.reference import write_reference

BATCH = Range(1, 1, 8)
MAX_BATCH = 64
MAX_FRAMES = 100_000
PROTOBUF_LIMIT = 2 * 1024**3 - 1024**2  # bytes: more does not fit one ONNX file
NO_PROBES = "a TensorRT plan has one output and gives no probes"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written."""

    engine: Path
    plan: Path | None
    manifest_path: Path
    manifest: Manifest
    reference: Path | None = None
    not_run: str = ""  # why the plan was not run, if it was not


def only(size: int) -> Range:
    """The range of one size."""
    return Range(size, size, size)


def export_engine(
    checkpoint: Checkpoint,
    name: Path,
    *,
    frames: Range,
    batch: Range = BATCH,
    precision: str = "fp32",
    scan: str = "chunked",
    target: str = "cpu",
    build: Build | None = None,
    probe: bool = False,
    reference: bool = False,
    report: Report = lambda step: None,
    progress: Progress | None = None,
) -> Exported:
    """Write `name`.onnx, `name`.json and, given a `build`, `name`.plan.

    The engine takes chunks of `frames` STFT frames, `batch` of them at a time. `precision` ("fp32", "fp16", "bf16")
    is that of the types inside; input and output stay float32. `scan` is one of `runtime.engine.manifest.SCANS`,
    `target` ("cpu", "gpu") the hardware the graph is optimised for. With `probe` the engine also outputs intermediate
    results; with `reference` `name`.npz holds what PyTorch computes. Both are for a comparison stage by stage.

    `report` is called with the name of each step as it begins, `progress` with the builder's. Raises ExportError, and
    leaves what stood under these names before, when the graph breaks the contract, its output differs from PyTorch's or
    no plan can be built.
    """
    config = checkpoint.config
    _check_options(checkpoint, frames, batch, precision, scan, target)
    if probe and build is not None:
        raise ExportError(f"--probe: {NO_PROBES}: leave out --probe or --trt")
    with _writing(name, with_plan=build is not None, with_reference=reference) as (folder, finals):
        report("building the network")
        model = checkpoint.model()
        described = model_of(config, sum(parameter.numel() for parameter in model.parameters()))
        length = frames.opt if frames.min == frames.max else "frames"
        probes = probe_tensors(described, length) if probe else []
        report("tracing it into a graph")
        graph = to_onnx(model, frames, precision, scan, target, [each.name for each in probes])
        report("checking the graph")
        check_graph(graph, frames, config.stft.bins, config.channels, len(config.stems), precision, scan, probes)
        part = folder / finals.onnx.name
        onnx.save(graph, part)
        stages = None
        if reference:
            report("PyTorch stage by stage on the recorded input")
            stages = reference_of(model, checkpoint, recorded_wave(config.stft, config.channels, frames.opt))
            write_reference(folder / finals.reference.name, stages)
        recorded = record(model, frames, report, stages)
        parity = verify(
            model,
            part,
            recorded,
            frames=frames,
            batch_max=batch.max,
            precision=precision,
            scan=scan,
            target=target,
            report=report,
        )
        manifest = describe(
            checkpoint,
            described,
            frames=frames,
            batch=batch,
            precision=precision,
            scan=scan,
            target=target,
            probes=probes,
            parity=parity,
        )
        onnx.helper.set_model_props(graph, {METADATA_KEY: manifest.inside_onnx()})
        onnx.save(graph, part)
        manifest = replace(manifest, onnx=_described(part))
        not_run = ""
        if build is not None:
            plan = folder / finals.plan.name
            manifest, not_run = _with_plan(manifest, part, plan, build, recorded, report, progress)
        report("writing")
        _write(manifest, folder, finals)
    return Exported(
        finals.onnx,
        finals.plan if build is not None else None,
        finals.manifest,
        manifest,
        finals.reference if reference else None,
        not_run,
    )


def rebuild_plan(
    name: Path,
    manifest: Manifest,
    build: Build,
    recorded: list[Recorded],
    report: Report = lambda step: None,
    progress: Progress | None = None,
) -> Exported:
    """Build `name`.plan again from `name`.onnx, which `manifest` describes; rewrite `name`.json. Raises ExportError."""
    with _writing(name, with_plan=True) as (folder, finals):
        plan = folder / finals.plan.name
        manifest, not_run = _with_plan(manifest, finals.onnx, plan, build, recorded, report, progress)
        report("writing")
        _write(manifest, folder, replace(finals, moved=(finals.plan, finals.manifest)))
    return Exported(finals.onnx, finals.plan, finals.manifest, manifest, not_run=not_run)


def _with_plan(
    manifest: Manifest,
    graph: Path,
    plan: Path,
    build: Build,
    recorded: list[Recorded],
    report: Report,
    progress: Progress | None,
) -> tuple[Manifest, str]:
    """Build `plan` from `graph` and check it: by its header and, where its GPU is at hand, by what it computes.

    Returns the manifest with the plan in it, and why the plan was not run, if it was not.
    """
    report(f"building the plan with {build.flavour} {build.version}")
    capabilities = list(build.compute_capabilities)
    manifest = replace(manifest, plan=Plan(None, build.flavour, build.version, capabilities, None))
    build_plan(graph, plan, manifest.inside_plan(), manifest.batch, manifest.frames, build, progress)
    file = _described(plan)
    manifest = replace(manifest, plan=Plan(file, build.flavour, build.version, capabilities, None))
    gpu, why_not = find_gpu()
    if gpu is None:
        return manifest, f"there is no NVIDIA GPU here ({why_not})"
    if gpu.capability not in capabilities:
        return manifest, f"this GPU, {gpu.name}, has {gpu.capability}"
    parity = verify_plan(plan, manifest, recorded, report)
    return replace(manifest, plan=Plan(file, build.flavour, build.version, capabilities, parity)), ""


@dataclass(frozen=True)
class _Finals:
    """The names an engine's files get once all of it is right."""

    onnx: Path
    plan: Path
    manifest: Path
    reference: Path
    moved: tuple[Path, ...]  # those that are written now


@contextmanager
def _writing(name: Path, with_plan: bool, with_reference: bool = False) -> Iterator[tuple[Path, _Finals]]:
    """A folder beside `name` for what is not finished. What fails in it becomes one ExportError, and it vanishes."""
    suffixes = (".onnx", ".plan", ".json", ".npz")
    graph, plan, manifest, reference = (name.with_name(name.name + suffix) for suffix in suffixes)
    wanted = {graph: True, plan: with_plan, reference: with_reference, manifest: True}
    finals = _Finals(graph, plan, manifest, reference, tuple(path for path, is_made in wanted.items() if is_made))
    for final in finals.moved:
        if final.is_dir():
            raise ExportError(f"{final}: is a folder: choose another name with -o")
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=name.parent, prefix=".bsm-export-") as folder:
            yield Path(folder), finals
    except OSError as error:
        raise ExportError(f"{name}: cannot be written ({error.strerror or error})") from error


def _described(part: Path) -> EngineFile:
    return EngineFile(part.name, part.stat().st_size, sha256_of(part))


def _write(manifest: Manifest, folder: Path, finals: _Finals) -> None:
    part = folder / finals.manifest.name
    part.write_text(manifest.to_json() + "\n", encoding="utf-8")
    Manifest.from_json(part.read_text(encoding="utf-8"), str(finals.manifest))
    _replace_all({folder / final.name: final for final in finals.moved}, folder)
    if finals.plan not in finals.moved:
        finals.plan.unlink(missing_ok=True)  # of an earlier engine of this name: the manifest knows it no longer


def _replace_all(moves: dict[Path, Path], folder: Path) -> None:
    """Move every new file to its final name or leave all names as they were: no engine without its manifest."""
    earlier: dict[Path, Path] = {}
    try:
        for part, final in moves.items():
            if final.exists():
                earlier[final] = folder / f"earlier-{final.name}"
                final.replace(earlier[final])
            part.replace(final)
    except BaseException:  # Ctrl-C, too
        for part, final in moves.items():
            if not part.exists():
                final.unlink(missing_ok=True)
            if final in earlier and earlier[final].exists():
                earlier[final].replace(final)
        raise


def _check_options(checkpoint: Checkpoint, frames: Range, batch: Range, precision: str, scan: str, target: str) -> None:
    least = smallest_frames(checkpoint.config.stft)
    if not least <= frames.min <= frames.opt <= frames.max <= MAX_FRAMES:
        raise ExportError(
            f"{_words(frames)} frames: expected {least}, whose chunk is longer than n_fft / 2, to {MAX_FRAMES}"
        )
    if not 1 <= batch.min <= batch.opt <= batch.max <= MAX_BATCH:
        raise ExportError(
            f"a batch of {_words(batch)}: expected --batch-min <= --batch-opt <= --batch-max, from 1 to {MAX_BATCH}"
        )
    for option, value, known in (("precision", precision, tuple(TOLERANCES)), ("scan", scan, SCANS)):
        if value not in known:
            raise ExportError(f"--{option} {value}: expected {', '.join(known[:-1])} or {known[-1]}")
    if target not in TARGETS:
        raise ExportError(f"--target {target}: expected {' or '.join(TARGETS)}")
    if scan == "unrolled" and frames.min < frames.max:
        raise ExportError("--scan unrolled: unrolls one length only: give --frames one number, or use --scan chunked")
    bytes_needed = 4 * sum(value.numel() for value in checkpoint.state.values())
    if bytes_needed > PROTOBUF_LIMIT:
        raise ExportError(f"{bytes_needed} bytes of weights: one ONNX file holds at most {PROTOBUF_LIMIT}")


def _words(sizes: Range) -> str:
    return str(sizes.opt) if sizes.min == sizes.max else f"{sizes.min}:{sizes.opt}:{sizes.max}"


def smallest_frames(stft: StftConfig) -> int:
    return stft.n_fft // 2 // stft.hop_length + 2
