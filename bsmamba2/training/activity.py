"""Source activity detection: the windows of a stem that are worth training on (official `SAD`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNKS = 10  # per window
SILENT = 1e-5  # replaces an RMS of exactly 0
LEAST = 1e-3  # RMS above which a chunk can be active
QUANTILE = 0.15
SHARE = 0.5  # of a window's chunks that must be active


def salient_starts(wave: NDArray[np.float32], window: int) -> NDArray[np.int64]:
    """Start samples of the salient windows of `wave` [c, samples]; windows of `window` samples overlap by half.

    A window is salient if, in all channels, more than half of its ten chunks have an RMS above both 1e-3 and the 15%
    quantile of the ten (EuiYeonKim/BSMamba2 @ 42eb8c8, with the thresholds of its yaml). A remainder shorter than a
    window is ignored.
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
