"""`export_engine`: from a checkpoint to NAME.onnx, NAME.json and, for TensorRT, NAME.plan.

Files appear under these names only if the engine computes what PyTorch does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bsmamba2.checkpoint import Checkpoint
from bsmamba2.config import StftConfig
from export.describe import describe, model_of, tensors_of
from export.errors import ExportError
from export.files import Exported, Report, described, put_in_place, writing
from export.graph.check_graph import check_graph
from export.graph.save import add_metadata, save
from export.graph.to_onnx import to_onnx
from export.plan.build import NO_PROBES, Build, Progress
from export.plan.checked import build_checked
from export.plan.scan_plugin import require_network
from export.proof.reference import reference_of
from export.proof.verify import TOLERANCES, expected_stems, verify
from runtime.dsp.signal import signal_wave
from runtime.engine.manifest import IOS, METADATA_KEY, SCANS, TARGETS, Range, length_of, probe_tensors
from runtime.parity.reference import write_reference

BATCH = Range(1, 1, 8)
MAX_BATCH = 64
MAX_FRAMES = 100_000


def only(size: int) -> Range:
    """The range that allows one size only."""
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
    io: str = "spectrum",
    build: Build | None = None,
    probe: bool = False,
    reference: bool = False,
    report: Report = lambda step: None,
    progress: Progress | None = None,
) -> Exported:
    """Write `name`.onnx, `name`.json and, given a `build`, `name`.plan.

    The engine takes chunks of `frames` STFT frames, `batch` of them at a time. `precision` ("fp32", "fp16", "bf16")
    is used inside; input and output stay float32. `scan` is one of `runtime.engine.manifest.SCANS`, `target` ("cpu",
    "gpu") the hardware the graph is optimised for, `io` ("spectrum", "wave") what the engine takes and gives. With
    `probe` it also outputs intermediate results; with `reference` PyTorch's results go to `name`.npz. Both are for a
    comparison stage by stage.

    `report` is called with the name of each step as it begins, `progress` with the steps of the builder. Raises
    ExportError when the graph breaks the engine contract, its output differs from PyTorch's or no plan can be built;
    earlier files of these names are then kept.
    """
    config = checkpoint.config
    _check_options(checkpoint, frames, batch, precision, scan, target, io)
    if scan == "plugin":
        if build is None or not build.plugin:
            raise ExportError("--scan plugin: is for plans of full TensorRT: add --trt tensorrt, or use --scan custom")
        require_network(config, precision)
    if probe and build is not None:
        raise ExportError(f"--probe: {NO_PROBES}: leave out --probe or --trt")
    with writing(name, with_plan=build is not None, with_reference=reference) as (folder, finals):
        report("building the network")
        model = checkpoint.model()
        model.lean = True
        model_entry = model_of(config, checkpoint.parameters, checkpoint.rest)
        probes = probe_tensors(model_entry, length_of(frames), io) if probe else []
        report("tracing the network into an ONNX graph")
        graph = to_onnx(model, frames, precision, scan, target, probes, io)
        report("checking the graph")
        part = folder / finals.onnx.name
        data = save(graph, part)
        del graph  # a gigabyte, in the largest networks
        mixture, stems = tensors_of(config, io, frames)
        check_graph(part, mixture, [stems, *probes], precision, scan)
        stages = None
        if reference:
            report("running PyTorch stage by stage on the test signal")
            stages = reference_of(model, checkpoint, signal_wave(config.stft, config.channels, frames.opt))
            write_reference(folder / finals.reference.name, stages)
        expected = expected_stems(model, frames, io, report, stages)
        parity = verify(
            model,
            part,
            expected,
            frames=frames,
            batch_max=batch.max,
            precision=precision,
            scan=scan,
            target=target,
            io=io,
            report=report,
        )
        manifest = describe(
            checkpoint,
            model_entry,
            frames=frames,
            batch=batch,
            precision=precision,
            scan=scan,
            target=target,
            io=io,
            probes=probes,
            parity=parity,
        )
        add_metadata(part, {METADATA_KEY: manifest.inside_onnx()})
        manifest = replace(manifest, onnx=described(part), onnx_data=None if data is None else described(data))
        not_run = ""
        if build is not None:
            plan = folder / finals.plan.name
            manifest, not_run = build_checked(manifest, part, plan, build, expected, report, progress)
        report("writing the files")
        put_in_place(manifest, folder, finals)
    return Exported(
        finals.onnx,
        finals.plan if build is not None else None,
        finals.manifest,
        manifest,
        finals.reference if reference else None,
        not_run,
    )


def _check_options(
    checkpoint: Checkpoint, frames: Range, batch: Range, precision: str, scan: str, target: str, io: str
) -> None:
    least = smallest_frames(checkpoint.config.stft)
    for size in (frames.min, frames.opt, frames.max):
        if not least <= size <= MAX_FRAMES:
            raise ExportError(
                f"--frames {size}: must be between {least} and {MAX_FRAMES} (a chunk must be longer than half an STFT "
                "window)"
            )
    if not frames.min <= frames.opt <= frames.max:
        raise ExportError(f"--frames {frames.min}:{frames.opt}:{frames.max}: MIN:OPT:MAX must be in ascending order")
    for option, size in (("--batch-min", batch.min), ("--batch-opt", batch.opt), ("--batch-max", batch.max)):
        if not 1 <= size <= MAX_BATCH:
            raise ExportError(f"{option} {size}: must be between 1 and {MAX_BATCH}")
    if not batch.min <= batch.opt <= batch.max:
        raise ExportError(
            f"--batch-min {batch.min}, --batch-opt {batch.opt}, --batch-max {batch.max}: must be in ascending order"
        )
    for option, value, known in (("precision", precision, tuple(TOLERANCES)), ("scan", scan, SCANS)):
        if value not in known:
            raise ExportError(f"--{option} {value}: must be {', '.join(known[:-1])} or {known[-1]}")
    for option, value, known in (("target", target, TARGETS), ("io", io, IOS)):
        if value not in known:
            raise ExportError(f"--{option} {value}: must be {' or '.join(known)}")
    if scan == "unrolled" and frames.min < frames.max:
        raise ExportError("--scan unrolled: needs chunks of one length: give one number to --frames, or use chunked")


def smallest_frames(stft: StftConfig) -> int:
    return stft.n_fft // 2 // stft.hop_length + 2
