"""The parity check of an exported graph: run it in ONNX Runtime and compare with PyTorch in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bsmamba2.model import BandSplitSeparator
from export.errors import ExportError
from export.record import SEED, pytorch_stems, recorded_mixture
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.errors import SeparationError
from runtime.manifest import Parity
from runtime.parity import difference

# precision -> (largest error relative to the peak of PyTorch's output, least SNR in dB). Measured in float32 on the
# golden networks and on the published sizes with random weights: at most 1.8e-6, at least 118 dB; in float16 on the
# golden networks: at most 1.2e-3, at least 60 dB.
TOLERANCES = {"fp32": (2e-5, 90.0), "fp16": (5e-3, 50.0)}


def verify(
    model: BandSplitSeparator,
    graph: Path,
    frames: int,
    batch_max: int,
    precision: str,
    report: Callable[[str], None],
) -> Parity:
    """Raise ExportError unless the graph in file `graph` computes what `model` does, at batch 1 and beyond."""
    report("PyTorch on the recorded input")
    mixture = recorded_mixture(model, frames)
    reference = pytorch_stems(model, mixture)
    report("ONNX Runtime on the recorded input")
    try:
        backend = OnnxRuntimeBackend(graph, threads=None)
        found = difference(backend.run(mixture), reference)
        if batch_max > 1:
            # The mask multiplies the mixture, so a silent item must come out silent, and leave its neighbour alone.
            silent, beside = backend.run(np.concatenate([np.zeros_like(mixture), mixture]))
            if silent.any():
                raise ExportError("the engine makes sound out of a silent item of a batch: nothing was written")
            found = max(found, difference(beside[None], reference), key=lambda each: each.max_error)
    except SeparationError as error:
        if isinstance(error, ExportError):
            raise
        hint = "; activations may leave the range of float16" if precision == "fp16" else ""
        raise ExportError(f"{error}{hint}: nothing was written") from error
    tolerance, required = TOLERANCES[precision]
    if found.max_error > tolerance or (found.snr_db is not None and found.snr_db < required):
        raise ExportError(
            f"the {precision} engine differs from PyTorch by {found.max_error:.1e} of the peak "
            f"(at most {tolerance:.0e}), SNR {found.snr_db:.0f} dB "
            f"(at least {required:.0f}): nothing was written"
        )
    return Parity(
        inputs=f"bsmamba2 recorded mixture, seed {SEED}, {frames} frames",
        executor=backend.name,
        max_error=found.max_error,
        rms_error=found.rms_error,
        snr_db=found.snr_db,
        tolerance=tolerance,
        required_snr_db=required,
    )
