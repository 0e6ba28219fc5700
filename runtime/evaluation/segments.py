"""Vocal segments of a true stem, for the paper's Table III."""

from __future__ import annotations

import numpy as np

from runtime.evaluation.metrics import Float

FRAME = 0.05  # s
QUIET_DB = -30.0  # below the stem's loud level, the 95% quantile of its audible frames
SILENT = 1e-4  # RMS above which a frame is audible
GAP = 0.3  # s; shorter silence, such as a breath, does not end a segment
CLASSES = ((1.0, 2.0), (2.0, 4.0), (4.0, 8.0))  # s, of the table's columns


def vocal_segments(stem: Float, sample_rate: int) -> list[tuple[int, int]]:
    """First and last sample of each part of `stem` [c, samples] with sound and without a longer pause.

    The paper does not say how it finds them; here it is done by the level of 50 ms frames.
    """
    size = round(FRAME * sample_rate)
    count = stem.shape[1] // size
    frames = stem[:, : count * size].reshape(len(stem), count, size)
    level = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=(0, 2)))
    sounding = level[level > SILENT]
    if not sounding.size:
        return []
    active = level > max(SILENT, float(np.quantile(sounding, 0.95)) * 10 ** (QUIET_DB / 20))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    segments: list[tuple[int, int]] = []
    for start, end in edges.reshape(-1, 2) * size:
        if segments and start - segments[-1][1] < GAP * sample_rate:
            segments[-1] = (segments[-1][0], int(end))
        else:
            segments.append((int(start), int(end)))
    return segments
