"""Where in a true stem somebody sings: the segments of the paper's Table III."""

from __future__ import annotations

import numpy as np

from runtime.evaluation.metrics import Float

FRAME = 0.05  # s
QUIET_DB = -30.0  # below the stem's loud level, the 95% quantile of its frames that sound at all
SILENT = 1e-4  # RMS of a frame that sounds at all
GAP = 0.3  # s of silence that does not end a segment: a breath, a consonant
CLASSES = ((1.0, 2.0), (2.0, 4.0), (4.0, 8.0))  # s, of the table's columns


def vocal_segments(stem: Float, sample_rate: int) -> list[tuple[int, int]]:
    """First and last sample of each stretch of `stem` [c, samples] with sound and no longer pause within.

    The paper does not say how it finds them; this is by the level of frames of 50 ms.
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
