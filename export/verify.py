"""The parity check of an exported graph: run it in ONNX Runtime and compare with PyTorch."""

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

# Largest error of a float32 engine, relative to the peak of PyTorch's output. Measured on the golden networks and on
# full-size ones with random weights: at most 4e-6.
TOLERANCE = 2e-5


def verify(
    model: BandSplitSeparator, graph: Path, frames: int, batch_max: int, report: Callable[[str], None]
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
        raise error if isinstance(error, ExportError) else ExportError(f"{error}: nothing was written") from error
    if found.max_error > TOLERANCE:
        raise ExportError(
            f"the engine differs from PyTorch by {found.max_error:.1e} of the peak, more than {TOLERANCE:.0e}: "
            "nothing was written"
        )
    return Parity(
        inputs=f"bsmamba2 recorded mixture, seed {SEED}, {frames} frames",
        executor=backend.name,
        max_error=found.max_error,
        rms_error=found.rms_error,
        snr_db=found.snr_db,
        tolerance=TOLERANCE,
    )
