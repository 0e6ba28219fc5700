"""What was measured, and what follows from it."""

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
    weight: bool  # the right one is constant, so it can be laid out for the product beforehand
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
    count: int  # how often the engine computes it in one run
    seconds: float  # of one


@dataclass(frozen=True)
class Products:
    """The matrix products of one run of an engine, computed alone."""

    round_seconds: list[float]  # all of them together
    each: list[ProductTime]

    @property
    def seconds(self) -> float:
        return median(self.round_seconds)

    @property
    def flops(self) -> int:
        return sum(each.count * each.product.flops for each in self.each)


@dataclass(frozen=True)
class Point:
    """Runs of other work than the contenders are compared on."""

    work: Work
    run_seconds: list[float]

    @property
    def cost(self) -> float:
        """Seconds a second of audio, median."""
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
    warmup: int = 0  # of the runs, the first so many
    run_seconds: list[float] = field(default_factory=list)
    peak_memory: int | None = None  # bytes
    gpu_memory: int | None = None  # bytes
    stage_seconds: dict[str, float] | None = None
    products: Products | str | None = None  # a string says why they were not measured; None: they were not asked for
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
        """Seconds a second of audio in each measured round."""
        return [each / self.work.seconds for each in self.measured]

    @property
    def points(self) -> list[Point]:
        """What is known of cost against work: the sweep, where there was one, whose sizes took turns."""
        return self.sweep or [Point(self.work, self.measured)]

    def times_products(self) -> Spread | None:
        """How often its products alone would fit into a run, round by round."""
        return ratio(self.measured, self.products.round_seconds) if isinstance(self.products, Products) else None


@dataclass(frozen=True)
class Requirement:
    """That the first contender takes less time than another."""

    faster_than: str
    met: bool
    text: str  # one line: by how much, or why it cannot be known


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
        """Its time a second of audio over the first contender's, round by round: 2 takes twice as long."""
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
