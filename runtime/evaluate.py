"""How well stems are separated, given the true ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.errors import OptionError

DELTA = 1e-7  # of the official code: keeps a silent reference finite


def usdr(reference: NDArray[np.float32], estimate: NDArray[np.float32]) -> float:
    """Signal-to-distortion ratio in dB over a whole track, [c, samples] both (paper IV.B; official `compute_usdr`).

    Raises OptionError when the two differ in shape.
    """
    if reference.shape != estimate.shape:
        raise OptionError(f"SDR of an estimate {estimate.shape}: expected the shape of the reference {reference.shape}")
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    error = float(np.sum(np.square(reference.astype(np.float64) - estimate)))
    return 10 * float(np.log10((signal + DELTA) / (error + DELTA)))
