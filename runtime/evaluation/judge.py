"""Compare a separator's stems with the true stems of a song."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runtime.errors import SeparationError
from runtime.evaluation import metrics
from runtime.evaluation.results import UNSEPARATED, Judged, Segment
from runtime.evaluation.segments import vocal_segments
from runtime.evaluation.tracks import Track, Truth
from runtime.separation.separator import Separator


def judge_mixture(track: Track, truth: Truth) -> list[Judged]:
    """The figures of the mixture itself, taken as every stem."""
    return [_judged(UNSEPARATED, None, track, truth, stem, truth.mixture) for stem in truth.stems]


def judge(
    name: str, seconds: float, separator: Separator, track: Track, truth: Truth, progress: Callable[[int, int], None]
) -> list[Judged]:
    """The figures of `separator`, which is the model `name` with chunks of `seconds`, on one track.

    `progress` is called with the chunks done and their number. Raises EngineError, OptionError.
    """
    try:
        stems = separator.separate(truth.mixture, truth.sample_rate, list(truth.stems), progress)
    except SeparationError as error:
        raise type(error)(f"{track.name}: {error}") from error
    return [_judged(name, seconds, track, truth, stem, wave) for stem, wave in stems.items()]


def _judged(
    model: str, seconds: float | None, track: Track, truth: Truth, stem: str, estimate: metrics.Float
) -> Judged:
    true, rate = truth.stems[stem], truth.sample_rate
    segments = [
        Segment(start / rate, (end - start) / rate, metrics.usdr(true[:, start:end], estimate[:, start:end]))
        for start, end in (vocal_segments(true, rate) if stem == "vocals" else [])
    ]
    sounds = bool(np.any(true)) and bool(np.any(estimate))
    bleedless, fullness = metrics.bleedless_and_fullness(true, estimate, rate) if sounds else (np.nan, np.nan)
    return Judged(
        model=model,
        seconds=seconds,
        track=track.name,
        stem=stem,
        usdr=metrics.usdr(true, estimate),
        csdr=metrics.csdr(true, estimate, rate),
        si_sdr=metrics.si_sdr(true, estimate),
        bleedless=bleedless,
        fullness=fullness,
        segments=tuple(segments),
    )
