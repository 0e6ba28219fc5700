"""Statistics of a few timings of the same work."""

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
    """The 95th percentile, interpolated; with few runs it is close to the slowest."""
    return float(np.percentile(values, 95))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """`above` divided by `below`, round by round: load on the machine affects both of a round alike."""
    each = [a / b for a, b in zip(above, below, strict=True)]
    return Spread(median(each), min(each), max(each))
