"""The parity check: run what is about to be written on a recorded input and compare with PyTorch in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch

from bsmamba2.networks.model import BandSplitSeparator
from export.errors import ExportError
from export.graph.to_onnx import prepared
from export.graph.widened import widened
from export.proof.record import SEED, Float, pytorch_stems, recorded_mixture
from export.proof.torch_backend import TorchBackend
from runtime.backends import Backend
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.engine.manifest import Manifest, Parity, Range
from runtime.errors import SeparationError
from runtime.parity.difference import TOLERANCES, Difference, difference
from runtime.parity.reference import Reference

Report = Callable[[str], None]


class Recorded(NamedTuple):
    """An input and what PyTorch makes of it in float32."""

    mixture: Float  # [1, t, f, c, 2]
    stems: Float  # [1, s, t, f, c, 2]


def record(
    model: BandSplitSeparator, frames: Range, report: Report, reference: Reference | None = None
) -> list[Recorded]:
    """The recorded input at the frames the engine is made for, and at the fewest it accepts.

    What `reference` holds already, at the former, is not computed again.
    """
    report("PyTorch on the recorded input")
    config = model.config
    lengths = dict.fromkeys((frames.opt, frames.min))
    recorded = []
    if reference is not None:
        recorded.append(Recorded(reference["spectrogram"], reference["stems"]))
        del lengths[frames.opt]
    mixtures = [recorded_mixture(config.stft, config.channels, length) for length in lengths]
    return [*recorded, *(Recorded(mixture, pytorch_stems(model, mixture)) for mixture in mixtures)]


def verify(
    model: BandSplitSeparator,
    graph: Path,
    recorded: list[Recorded],
    *,
    frames: Range,
    batch_max: int,
    precision: str,
    scan: str,
    target: str,
    report: Report,
) -> Parity:
    """Raise ExportError unless the graph in file `graph` computes what `model` does.

    In bfloat16 the graph runs with its numbers held in float32, and the typed network runs in PyTorch.
    """
    report("ONNX Runtime on the recorded input")
    if precision == "bf16":
        wide = graph.with_name(f"wide-{graph.name}")
        onnx.save(widened(onnx.load(graph)), wide)
        graph = wide
    # A batch of two of a whole-batch graph would take as much memory as two exports.
    in_batches = batch_max > 1 and target == "cpu"
    backend = OnnxRuntimeBackend(graph, threads=None, lean=target == "gpu")
    worst = check(backend, recorded, precision, in_batches)
    executor = backend.name
    del backend
    if precision == "bf16":
        report("PyTorch in bfloat16 on the recorded input")
        typed = prepared(model, frames, precision, scan, target)
        typed_worst = check(TorchBackend(typed), recorded, precision, in_batches=False)
        worst = max(worst, typed_worst, key=lambda each: each.max_error)
        executor = f"torch {torch.__version__.split('+')[0]}, CPU, bfloat16; the graph in {executor}, held in float32"
    return parity_record(worst, recorded, executor, precision)


def check(
    backend: Backend, recorded: list[Recorded], precision: str, in_batches: bool, least_batch: int = 1
) -> Difference:
    """The largest difference from PyTorch. Raises ExportError where one is beyond the tolerance of `precision`."""
    tolerance, required = TOLERANCES[precision]
    found = []
    try:
        for mixture, stems in recorded:
            many, expected = (np.repeat(each, least_batch, axis=0) for each in (mixture, stems))
            found.append(difference(backend.run(many), expected))
        if in_batches:
            # The mask multiplies the mixture, so a silent item must come out silent, and leave its neighbour alone.
            mixture, stems = recorded[0]
            silent, beside = backend.run(np.concatenate([np.zeros_like(mixture), mixture]))
            if silent.any():
                raise ExportError("the engine makes sound out of a silent item of a batch: nothing was written")
            found.append(difference(beside[None], stems))
    except SeparationError as error:
        if isinstance(error, ExportError):
            raise
        hint = "; activations may leave the range of float16, try bf16" if precision == "fp16" else ""
        raise ExportError(f"{error}{hint}: nothing was written") from error
    for each in found:
        if not each.within(precision):
            raise ExportError(
                f"the {precision} engine differs from PyTorch by {each.max_error:.1e} of the peak "
                f"(at most {tolerance:.0e}), SNR {each.snr_db:.0f} dB "
                f"(at least {required:.0f}): nothing was written"
            )
    return max(found, key=lambda each: each.max_error)


def parity_record(worst: Difference, recorded: list[Recorded], executor: str, precision: str) -> Parity:
    lengths = " and ".join(str(mixture.shape[1]) for mixture, _ in recorded)
    tolerance, required = TOLERANCES[precision]
    return Parity(
        inputs=f"bsmamba2 recorded mixture, seed {SEED}, {lengths} frames",
        executor=executor,
        max_error=worst.max_error,
        rms_error=worst.rms_error,
        snr_db=worst.snr_db,
        tolerance=tolerance,
        required_snr_db=required,
    )


def verify_plan(plan: Path, manifest: Manifest, recorded: list[Recorded], report: Report) -> Parity:
    """The same check of a plan, on this machine's GPU. Raises ExportError."""
    from runtime.backends.tensorrt import TensorRtBackend

    report("TensorRT on the recorded input")
    with TensorRtBackend(plan, manifest) as backend:
        least = manifest.batch.min
        worst = check(backend, recorded, manifest.precision, least <= 2 <= manifest.batch.max, least)
        return parity_record(worst, recorded, backend.name, manifest.precision)
