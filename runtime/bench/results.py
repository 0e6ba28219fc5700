"""Measured times, and figures computed from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from runtime.bench.contenders import Work
from runtime.bench.machine import Machine
from runtime.bench.spread import Spread, median, p95, ratio


@dataclass(frozen=True)
class Product:
    """A matrix product: left [..., m, k] times right [..., k, n], batch axes broadcast."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    weight: bool  # the right one is constant, so it can be prepacked
    dtype: str

    @property
    def out(self) -> tuple[int, ...]:
        batch = [max(sizes) for sizes in zip(*_padded(self.left[:-2], self.right[:-2]), strict=True)]
        return (*batch, self.left[-2], self.right[-1])

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.left[-1] * math.prod(self.out)


def _padded(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    length = max(len(a), len(b))
    return (1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b


@dataclass(frozen=True)
class ProductTime:
    product: Product
    count: int  # how often one run of the engine computes it
    seconds: float  # for one


@dataclass(frozen=True)
class Products:
    """The matrix products of one run of an engine, computed alone."""

    round_seconds: list[float]  # of all products, round by round
    each: list[ProductTime]

    @property
    def seconds(self) -> float:
        return median(self.round_seconds)

    @property
    def flops(self) -> int:
        return sum(each.count * each.product.flops for each in self.each)


@dataclass(frozen=True)
class Point:
    """Runs of a size other than the compared one."""

    work: Work
    run_seconds: list[float]

    @property
    def cost(self) -> float:
        """Seconds per second of audio, median."""
        return median(self.run_seconds) / self.work.seconds


@dataclass(frozen=True)
class Outcome:
    """One contender. Without `run_seconds` it was not run, and `not_run` says why."""

    name: str
    kind: str  # "engine", "torch" or "torch.compile"
    precision: str
    work: Work
    executor: str = ""
    open_seconds: float = 0.0
    warmup: int = 0  # number of runs at the start that do not count
    run_seconds: list[float] = field(default_factory=list)
    peak_memory: int | None = None  # bytes
    gpu_memory: int | None = None  # bytes
    stage_seconds: dict[str, float] | None = None
    products: Products | str | None = None  # a string: why they were not measured; None: not requested
    sweep: list[Point] = field(default_factory=list)
    not_run: str = ""

    @property
    def measured(self) -> list[float]:
        return self.run_seconds[self.warmup :]

    @property
    def seconds(self) -> float:
        return median(self.measured)

    @property
    def p95(self) -> float:
        return p95(self.measured)

    @property
    def cold_start(self) -> float:
        return self.open_seconds + self.run_seconds[0]

    @property
    def third(self) -> float | None:
        return self.run_seconds[2] if len(self.run_seconds) > 2 else None

    @property
    def times_real_time(self) -> float:
        return self.work.seconds / self.seconds

    @property
    def costs(self) -> list[float]:
        """Seconds per second of audio in each measured round."""
        return [each / self.work.seconds for each in self.measured]

    @property
    def points(self) -> list[Point]:
        """Cost by work: the sweep if there was one, otherwise the compared work."""
        return self.sweep or [Point(self.work, self.measured)]

    def times_products(self) -> Spread | None:
        """Its time divided by that of its products, round by round."""
        return ratio(self.measured, self.products.round_seconds) if isinstance(self.products, Products) else None


@dataclass(frozen=True)
class Requirement:
    """Whether the first contender is faster than another."""

    faster_than: str
    met: bool
    text: str  # one line: by how much, or why it is not known


@dataclass(frozen=True)
class Bench:
    created: str  # ISO 8601, UTC
    rounds: int
    warmup: int
    threads: int | None
    device: str
    machine: Machine
    outcomes: list[Outcome]
    requirement: Requirement | None = None

    @property
    def run(self) -> list[Outcome]:
        return [each for each in self.outcomes if each.run_seconds]

    @property
    def first(self) -> Outcome:
        return self.outcomes[0]

    def ratio(self, outcome: Outcome) -> Spread:
        """Its time per second of audio divided by the first contender's, round by round: 2 means twice as long."""
        return ratio(outcome.costs, self.first.costs)


def require_faster(outcomes: list[Outcome], than: str) -> Requirement:
    """Whether the first outcome beat the one named `than`."""
    first = outcomes[0]
    other = next(each for each in outcomes if each.name == than)
    if not other.run_seconds:
        return Requirement(than, False, f"{first.name} against {than}: not known, {than} was not run: {other.not_run}")
    times = ratio(other.costs, first.costs)
    spread = f"{times.median:.3g} times as fast ({times.min:.3g} to {times.max:.3g} by round)"
    if times.median > 1:
        return Requirement(than, True, f"{first.name} is faster than {than}: {spread}")
    return Requirement(than, False, f"{first.name} is not faster than {than}: only {spread}")
