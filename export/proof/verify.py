"""The parity check: an engine, before it is written, runs on a test signal and is compared with PyTorch in float32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch

from bsmamba2.networks.model import BandSplitSeparator
from export.errors import ExportError
from export.graph.save import save
from export.graph.to_onnx import prepared
from export.graph.widened import widened
from export.proof.blockwise import BlockwiseBackend
from export.proof.pytorch import Float, pytorch_stems
from export.proof.torch_backend import TorchBackend
from runtime.backends import Backend
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.dsp.difference import TOLERANCES, Difference, difference
from runtime.dsp.signal import SEED, signal_input
from runtime.engine.manifest import Manifest, Parity, Range
from runtime.errors import SeparationError
from runtime.parity.reference import Reference

Report = Callable[[str], None]


class Expected(NamedTuple):
    """An input and what PyTorch computes from it in float32."""

    frames: int
    mixture: Float  # [1, t, f, c, 2] or [1, c, samples]
    stems: Float  # [1, s, t, f, c, 2] or [1, s, c, samples]


def expected_stems(
    model: BandSplitSeparator, frames: Range, io: str, report: Report, reference: Reference | None = None
) -> list[Expected]:
    """PyTorch's stems of the test signal, for the frames the engine is optimised for and the fewest it accepts.

    For an engine with waveforms (`io`) also STFT and inverse are PyTorch's. The stems of the former frames come from
    `reference`, if it is given.
    """
    report("running PyTorch on the test signal")
    config = model.config
    lengths = dict.fromkeys((frames.opt, frames.min))
    expected = []
    if reference is not None:
        given, taken = ("spectrogram", "stems") if io == "spectrum" else ("waveform", "stem_waveforms")
        expected.append(Expected(frames.opt, reference[given], reference[taken]))
        del lengths[frames.opt]
    for length in lengths:
        mixture = signal_input(config.stft, config.channels, length, io)
        expected.append(Expected(length, mixture, pytorch_stems(model, mixture, io)))
    return expected


def verify(
    model: BandSplitSeparator,
    graph: Path,
    expected: list[Expected],
    *,
    frames: Range,
    batch_max: int,
    precision: str,
    scan: str,
    target: str,
    io: str,
    report: Report,
) -> Parity:
    """Raise ExportError unless the graph in file `graph` computes what `model` does.

    For bf16, which ONNX Runtime's CPU provider lacks, two things are checked: the graph with float32 in the place of
    bfloat16, and the network in bfloat16 in PyTorch.
    """
    report("running ONNX Runtime on the test signal")
    if precision == "bf16":
        wide = graph.with_name(f"wide-{graph.name}")
        save(widened(onnx.load(graph)), wide)
        graph = wide
    in_batches = batch_max > 1
    backend: Backend = BlockwiseBackend(graph) if target == "gpu" else OnnxRuntimeBackend(graph, threads=None)
    with closing(backend):
        worst = check(backend, expected, precision, in_batches)
    executor = backend.name
    del backend
    if precision == "bf16":
        report("running PyTorch in bfloat16 on the test signal")
        typed = prepared(model, frames, precision, scan, target)
        typed_worst = check(TorchBackend(typed, io), expected, precision, in_batches=False)
        worst = max(worst, typed_worst, key=lambda each: each.max_error)
        executor = f"torch {torch.__version__.split('+')[0]}, CPU, bfloat16; the graph in {executor}, in float32"
    return parity_record(worst, expected, executor, precision, io)


def check(
    backend: Backend, expected: list[Expected], precision: str, in_batches: bool, least_batch: int = 1
) -> Difference:
    """The largest difference from PyTorch. Raises ExportError where one is beyond the tolerance of `precision`."""
    tolerance, required = TOLERANCES[precision]
    found = []
    try:
        for _, mixture, stems in expected:
            mixtures, wanted = (np.repeat(each, least_batch, axis=0) for each in (mixture, stems))
            found.append(difference(backend.run(mixtures), wanted))
        if in_batches:
            # The mask multiplies the mixture, so a silent item must stay silent and must not change the other item.
            _, mixture, stems = expected[0]
            silent, beside = backend.run(np.concatenate([np.zeros_like(mixture), mixture]))
            if silent.any():
                raise ExportError("the engine gives sound for a silent item of a batch: nothing was written")
            found.append(difference(beside[None], stems))
    except SeparationError as error:
        if isinstance(error, ExportError):
            raise
        hint = " (values may exceed the range of float16: try --precision bf16)" if precision == "fp16" else ""
        raise ExportError(f"{error}{hint}: nothing was written") from error
    for each in found:
        if not each.within(precision):
            raise ExportError(
                f"the {precision} engine differs from PyTorch by {each.max_error:.1e} of the peak "
                f"(at most {tolerance:.0e}), SNR {each.snr_db:.0f} dB "
                f"(at least {required:.0f}): nothing was written"
            )
    return max(found, key=lambda each: each.max_error)


def parity_record(worst: Difference, expected: list[Expected], executor: str, precision: str, io: str) -> Parity:
    lengths = " and ".join(str(each.frames) for each in expected)
    what = "spectrograms" if io == "spectrum" else "waveforms"
    tolerance, required = TOLERANCES[precision]
    return Parity(
        inputs=f"bsmamba2 test signal, seed {SEED}, {lengths} frames, {what}",
        executor=executor,
        max_error=worst.max_error,
        rms_error=worst.rms_error,
        snr_db=worst.snr_db,
        tolerance=tolerance,
        required_snr_db=required,
    )


def verify_plan(plan: Path, manifest: Manifest, expected: list[Expected], report: Report) -> Parity:
    """The same check of a plan, on this machine's GPU. Raises ExportError."""
    from runtime.backends.tensorrt import TensorRtBackend

    report("running TensorRT on the test signal")
    with TensorRtBackend(plan, manifest) as backend:
        least = manifest.batch.min
        worst = check(backend, expected, manifest.precision, least <= 2 <= manifest.batch.max, least)
        return parity_record(worst, expected, backend.name, manifest.precision, manifest.io)
