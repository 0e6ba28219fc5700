"""Source activity detection: where in a stem there is something to learn from (official `SAD`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNKS = 10  # of a window
SILENT = 1e-5  # what an RMS of exactly 0 counts as
LEAST = 1e-3  # RMS that counts as active at all
QUANTILE = 0.15
SHARE = 0.5  # of a window's chunks


def salient_starts(wave: NDArray[np.float32], window: int) -> NDArray[np.int64]:
    """First samples of the salient windows of `wave` [c, samples], windows of `window` samples every half window.

    A window is salient where, in all channels, more than half of its ten chunks have an RMS above both 1e-3 and the
    15% quantile of the ten (EuiYeonKim/BSMamba2 @ 42eb8c8, with the thresholds of its yaml). The tail that fills no
    window is left out.
    """
    step, chunk = window // 2, window // CHUNKS
    starts = np.arange(0, wave.shape[1] - window + 1, step)
    energy = np.concatenate([np.zeros((len(wave), 1)), np.cumsum(np.square(wave, dtype=np.float64), axis=1)], axis=1)
    edges = starts[:, None] + chunk * np.arange(CHUNKS + 1)
    rms = np.sqrt(np.maximum(np.diff(energy[:, edges], axis=-1), 0) / chunk)  # [c, windows, chunks]
    rms[rms == 0] = SILENT
    threshold = np.maximum(np.quantile(rms, QUANTILE, axis=-1, keepdims=True), LEAST)
    active = (rms > threshold).mean(axis=-1) > SHARE
    return starts[active.all(axis=0)]
