"""What a few timings of the same work come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    median: float
    min: float
    max: float


def median(values: Sequence[float]) -> float:
    return float(np.median(values))


def p95(values: Sequence[float]) -> float:
    """What 95 of 100 runs stay under; between two runs it is interpolated, so few runs give nearly the slowest."""
    return float(np.percentile(values, 95))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """`above` over `below`, round by round: a slow moment of the machine hits both of a round alike."""
    each = [a / b for a, b in zip(above, below, strict=True)]
    return Spread(median(each), min(each), max(each))
