"""The difference between two arrays: largest error, RMS error and SNR."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError

# precision -> (largest error relative to the peak of PyTorch's output, smallest SNR in dB). Measurements behind them:
# docs/tensorrt.md for the stems, docs/parity.md for the stages before them.
TOLERANCES = {"fp32": (2e-5, 90.0), "fp16": (5e-3, 50.0), "bf16": (5e-2, 35.0)}


@dataclass(frozen=True)
class Difference:
    """Errors relative to the peak of the reference; SNR in dB, None if there is no error at all."""

    max_error: float
    rms_error: float
    snr_db: float | None

    def within(self, precision: str) -> bool:
        """Whether it is within the tolerance of `precision`."""
        tolerance, required = TOLERANCES[precision]
        return self.max_error <= tolerance and (self.snr_db is None or self.snr_db >= required)


def difference(found: NDArray[np.float32], reference: NDArray[np.float32]) -> Difference:
    """Compare `found` with `reference`.

    Raises EngineError if they cannot be compared: different shapes, empty arrays, a silent reference, NaN or Inf.
    """
    if found.shape != reference.shape or not reference.size:
        raise EngineError(f"parity: got shape {found.shape}, expected {reference.shape}")
    if not np.isfinite(found).all() or not np.isfinite(reference).all():
        raise EngineError("parity: NaN or Inf in the output")
    reference = reference.astype(np.float64)
    error = found - reference
    peak = float(np.abs(reference).max())
    if peak == 0:
        raise EngineError("parity: the reference is silent, so nothing can be compared")
    power = float(np.mean(error**2))
    signal = float(np.mean(reference**2))
    return Difference(
        max_error=float(np.abs(error).max()) / peak,
        rms_error=math.sqrt(power) / peak,
        snr_db=10 * math.log10(signal / power) if power else None,
    )
