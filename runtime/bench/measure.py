"""The measurement: every contender is opened, then all run in turns, so that load on the machine affects all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.bench.contenders import Contender, Work
from runtime.bench.machine import gpu_memory_used
from runtime.bench.results import Outcome, Point, Products
from runtime.bench.spread import median
from runtime.bench.worker import ContenderError, Worker

STAGE_RUNS = 3
PAUSE_SECONDS = 0.1  # between turns: worker threads keep spinning for a moment after a run


@dataclass(frozen=True)
class Entry:
    """A contender and what is measured besides its runs."""

    contender: Contender
    kind: str  # "engine", "torch" or "torch.compile"
    precision: str
    products: Contender | str | None = None  # its matrix products; a string: why not; None: not requested
    sweep: Sequence[Work] = ()


class Asked(Protocol):
    """A contender in its process: a `Worker`."""

    def wait_until_ready(self) -> None: ...

    def call(self, method: str, *args: object) -> Any: ...

    def close(self) -> None: ...


@dataclass
class _Lane:
    """The state of one contender during the measurement."""

    entry: Entry
    contender: Contender
    worker: Asked | None = None
    not_run: str = ""
    executor: str = ""
    open_seconds: float = 0.0
    runs: list[float] = field(default_factory=list)
    peak: int | None = None
    gpu: int | None = None
    stages: list[dict[str, float]] = field(default_factory=list)
    sweep: dict[Work, list[float]] = field(default_factory=dict)

    def ask(self, method: str, *args: object) -> Any:
        """The result of `method`, or None after an optional contender has failed. Raises ContenderError."""
        if self.worker is None:
            return None
        try:
            return self.worker.call(method, *args)
        except ContenderError as error:
            self.give_up(error)
            return None

    def give_up(self, error: ContenderError) -> None:
        if not self.contender.optional:
            raise error
        self.not_run = str(error).removeprefix(f"{self.contender.name}: ")
        if self.worker is not None:
            self.worker.close()
        self.worker = None

    def run(self, work: Work, pause: Callable[[float], None]) -> float | None:
        pause(PAUSE_SECONDS)
        seconds: float | None = self.ask("run", work)
        return seconds


def measure(
    entries: Sequence[Entry],
    *,
    rounds: int,
    warmup: int,
    report: Callable[[str], None] = lambda step: None,
    start: Callable[[Contender], Asked] = Worker,
    pause: Callable[[float], None] = time.sleep,
) -> list[Outcome]:
    """Run every contender `warmup` + `rounds` times, in turns. `report` is called with each step.

    Raises ContenderError if a contender fails that is not optional. No process is left running.
    """
    with ExitStack() as stack:
        lanes = [_Lane(entry, entry.contender) for entry in entries]
        products = {
            id(lane): _Lane(lane.entry, lane.entry.products)
            for lane in lanes
            if lane.entry.products is not None and not isinstance(lane.entry.products, str)
        }
        for lane in [*lanes, *products.values()]:
            lane.worker = start(lane.contender)
            stack.callback(lane.worker.close)
        for lane in [*lanes, *products.values()]:  # all have started before one is timed
            try:
                if lane.worker is not None:
                    lane.worker.wait_until_ready()
            except ContenderError as error:
                lane.give_up(error)
        for lane in lanes:
            report(f"opening {lane.contender.name}")
            _open(lane)
        for lane in lanes:
            limit = products.get(id(lane))
            if limit is not None and not _on_cpu(lane):
                limit.not_run, limit.worker = "only possible on the CPU", None
            elif limit is not None:
                report(f"collecting the matrix products of {lane.contender.name}")
                limit.ask("open")
        for i in range(warmup + rounds):
            for lane in lanes:
                report(f"run {i + 1} of {warmup + rounds}: {lane.contender.name}")
                _run(lane, pause)
                limit = products.get(id(lane))
                if limit is not None and i >= warmup:
                    seconds = limit.run(limit.contender.work, pause)
                    limit.runs += [] if seconds is None else [seconds]
        for lane in lanes:
            lane.peak = lane.ask("peak_memory")
        _stages(lanes, min(rounds, STAGE_RUNS), report, pause)
        _sweep(lanes, rounds, report, pause)
        return [_outcome(lane, products.get(id(lane)), warmup) for lane in lanes]


def _on_cpu(lane: _Lane) -> bool:
    return lane.executor.endswith("CPU")


def _open(lane: _Lane) -> None:
    before = gpu_memory_used()
    opened = lane.ask("open")
    if opened is None:
        return
    lane.open_seconds, lane.executor = opened
    lane.gpu = None if before is None or _on_cpu(lane) else (gpu_memory_used() or before) - before


def _run(lane: _Lane, pause: Callable[[float], None]) -> None:
    """One run of the compared work; GPU memory allocated by the first run is added to that of opening."""
    before = None if lane.runs or lane.gpu is None else gpu_memory_used()
    seconds = lane.run(lane.contender.work, pause)
    if seconds is None:
        lane.runs = []
        return
    lane.runs.append(seconds)
    if before is not None and lane.gpu is not None:
        lane.gpu += (gpu_memory_used() or before) - before


def _stages(lanes: list[_Lane], times: int, report: Callable[[str], None], pause: Callable[[float], None]) -> None:
    for _ in range(times):
        for lane in lanes:
            if lane.entry.kind == "engine":
                report(f"stages of {lane.contender.name}")
                pause(PAUSE_SECONDS)
                stages = lane.ask("stages", lane.contender.work)
                lane.stages += [] if stages is None else [stages]


def _sweep(lanes: list[_Lane], rounds: int, report: Callable[[str], None], pause: Callable[[float], None]) -> None:
    """All sizes in turns, so that they can be compared; the first run of each size is a warm-up."""
    works = list(dict.fromkeys(work for lane in lanes for work in lane.entry.sweep))
    for i in range(1 + rounds):
        for work in works:
            for lane in (each for each in lanes if work in each.entry.sweep):
                report(f"{work.batch} x {work.frames} frames: {lane.contender.name}")
                seconds = lane.run(work, pause)
                if i and seconds is not None:
                    lane.sweep.setdefault(work, []).append(seconds)


def _outcome(lane: _Lane, limit: _Lane | None, warmup: int) -> Outcome:
    entry = lane.entry
    products: Products | str | None = entry.products if isinstance(entry.products, str) else None
    if limit is not None:
        each = limit.ask("each")
        products = limit.not_run if each is None else Products(limit.runs, each)
    stages = {name: median([run[name] for run in lane.stages]) for name in lane.stages[0]} if lane.stages else None
    done = not lane.not_run
    return Outcome(
        name=lane.contender.name,
        kind=entry.kind,
        precision=entry.precision,
        work=lane.contender.work,
        executor=lane.executor,
        open_seconds=lane.open_seconds,
        warmup=warmup,
        run_seconds=lane.runs if done else [],
        peak_memory=lane.peak,
        gpu_memory=lane.gpu,
        stage_seconds=stages,
        products=products,
        sweep=[Point(work, seconds) for work, seconds in lane.sweep.items()] if done else [],
        not_run=lane.not_run,
    )
