"""The results of an evaluation, and how figures of tracks become figures of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from runtime.bench.machine import Machine
from runtime.evaluation.segments import CLASSES

UNSEPARATED = "no separation"  # the mixture itself as every stem: the baseline
RESAMPLES = 2000  # bootstrap draws


@dataclass(frozen=True)
class Segment:
    """A part of the song with vocals, and its uSDR. `start` and `seconds` in s."""

    start: float
    seconds: float
    usdr: float


@dataclass(frozen=True)
class Judged:
    """Figures of one stem of one track, by one model at one input length; `seconds` is None for the mixture itself.

    cSDR is NaN if no second has sound in both signals. `segments` is empty for stems other than vocals.
    """

    model: str
    seconds: float | None
    track: str
    stem: str
    usdr: float
    csdr: float
    si_sdr: float
    bleedless: float
    fullness: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Interval:
    """A figure of a model, with its 95% bootstrap interval over tracks (None: a single track)."""

    value: float
    low: float | None
    high: float | None


# How figures of tracks are combined: the paper uses the mean of uSDR and the median of cSDR.
OVER_TRACKS: dict[str, Callable[[np.ndarray], float]] = {
    "usdr": np.mean,
    "csdr": np.median,
    "si_sdr": np.mean,
    "bleedless": np.mean,
    "fullness": np.mean,
}


@dataclass(frozen=True)
class Evaluation:
    """`own` is each model's input length in s, used in tables that do not vary the length."""

    created: str
    data: str
    overlap: float
    machine: Machine
    own: dict[str, float]
    run_by: dict[str, str]
    lengths: list[float]
    judged: list[Judged]

    @property
    def models(self) -> list[str]:
        return list(self.own)

    @property
    def tracks(self) -> list[str]:
        return list(dict.fromkeys(each.track for each in self.judged))

    @property
    def stems(self) -> list[str]:
        return list(dict.fromkeys(each.stem for each in self.judged))

    def of(self, model: str, stem: str, seconds: float | None = None) -> list[Judged]:
        """The figures of all tracks; at the model's own length if `seconds` is None."""
        at = self.own.get(model) if seconds is None else seconds
        return [j for j in self.judged if (j.model, j.stem, j.seconds) == (model, stem, at)]

    def by_segment(self, model: str) -> list[tuple[float | None, int]]:
        """Mean uSDR of the vocal segments of each length class, and their number."""
        found = [segment for each in self.of(model, "vocals") for segment in each.segments]
        out: list[tuple[float | None, int]] = []
        for low, high in CLASSES:
            values = [segment.usdr for segment in found if low <= segment.seconds < high]
            out.append((float(np.mean(values)) if values else None, len(values)))
        return out


def over_tracks(judged: Sequence[Judged], figure: str) -> Interval | None:
    """One figure over several tracks, or None if no track has it."""
    values = np.array([getattr(each, figure) for each in judged], dtype=np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    together = OVER_TRACKS[figure]
    if values.size == 1:
        return Interval(float(values[0]), None, None)
    draws = np.random.default_rng(0).integers(values.size, size=(RESAMPLES, values.size))
    low, high = np.quantile([together(values[draw]) for draw in draws], [0.025, 0.975])
    return Interval(float(together(values)), float(low), float(high))
