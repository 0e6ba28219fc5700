"""The sub-bands of a Mel-Band RoFormer: the bins of the triangular filters of a mel filter bank."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

# Slaney's mel scale: linear up to 1000 Hz, logarithmic above (Auditory Toolbox, 1998).
HZ_PER_MEL, FIRST_LOG_HZ = 200 / 3, 1000.0
FIRST_LOG_MEL, LOG_STEP = FIRST_LOG_HZ / HZ_PER_MEL, np.log(6.4) / 27


@cache
def mel_bands(sample_rate: int, n_fft: int, bands: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The first bin of each of `bands` sub-bands and the number of its bins. None if some bins are in no sub-band.

    A sub-band holds the bins where its filter is positive, from 0 to half of `sample_rate` in Hz. The first one also
    holds bin 0, the last one the highest bin. Source: lucidrains/BS-RoFormer, `MelBandRoformer`, whose filters are
    those of `librosa.filters.mel` with its default settings.
    """
    hertz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    edges = _hertz(np.linspace(0, _mel(sample_rate / 2), bands + 2))
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    inside = np.minimum(rising, falling) > 0  # [k, f]
    inside[0, 0] = inside[-1, -1] = True
    widths = inside.sum(axis=1)
    if not inside.any(axis=0).all() or not widths.all():
        return None
    starts = inside.argmax(axis=1)
    return tuple(map(int, starts)), tuple(map(int, widths))


def _mel(hertz: float) -> float:
    if hertz < FIRST_LOG_HZ:
        return hertz / HZ_PER_MEL
    return float(FIRST_LOG_MEL + np.log(hertz / FIRST_LOG_HZ) / LOG_STEP)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = FIRST_LOG_HZ * np.exp(LOG_STEP * (mels - FIRST_LOG_MEL))
    return np.where(mels < FIRST_LOG_MEL, mels * HZ_PER_MEL, logarithmic)
