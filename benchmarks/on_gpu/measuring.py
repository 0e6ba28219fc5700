"""Measures an opened network: the first result, and for each batch size parity, latency and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from on_gpu.work import Float, Work, compare

MOST_SECONDS = 10.0  # of timing one batch size, unless fewer rounds than LEAST_ROUNDS were made
LEAST_ROUNDS = 3
WARM_UP = 3  # runs of a batch size before it is timed: TensorRT captures a CUDA graph in the second
FULL = (
    "out of memory",
    "GPU memory is full",
    "Failed to allocate memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "bad allocation",
)

Emit = Callable[..., None]


class CannotRun(Exception):  # noqa: N818 - no error: this machine lacks something
    """Why a contender cannot run here, in words."""


class Session(Protocol):
    """An opened network. `memory`, `forget`, `gpu_seconds` and `queued_seconds` are optional."""

    executor: str
    notes: list[str]

    def run(self, mixture: Float) -> Float: ...


def measure(session: Session, work: Work, precision: str, emit: Emit, io: str = "spectrum") -> None:
    """Emits the first result, then one point for each batch size; a batch that does not fit into memory ends it."""
    mixtures, stems = work.mixtures(io), work.stems(io)
    for batch in work.batches:
        mixture = np.array(mixtures[:batch])  # in memory, not in the file
        expected = None if stems is None else stems[:batch]
        try:
            if batch == work.batches[0]:
                emit(stage="the first run")
                session.run(mixture)
                emit(first=True)
            emit(stage=f"batch {batch}")
            point = _point(session, mixture, expected, precision, work.rounds)
        except Exception as error:
            reason = first_line(error)
            if not any(word.lower() in reason.lower() for word in FULL):
                raise
            emit(point={"batch": batch, "not_run": f"out of GPU memory ({reason})"})
            return
        emit(point={"batch": batch, "not_run": None, **point}, notes=session.notes)


def _point(session: Any, mixture: Float, expected: Float | None, precision: str, rounds: int) -> dict[str, Any]:
    forget = getattr(session, "forget", None)
    if forget is not None:
        forget()
    for _ in range(WARM_UP):
        found = session.run(mixture)
    point: dict[str, Any] = {"parity": None if expected is None else compare(found, expected, precision)}
    point["latency"] = spread(timed(lambda: session.run(mixture), rounds))
    for name in ("gpu_seconds", "queued_seconds"):
        ask = getattr(session, name, None)
        seconds = None if ask is None else ask(mixture, point["latency"]["rounds"])
        point[name] = None if seconds is None else spread(seconds)
    memory = getattr(session, "memory", None)
    return {**point, **({} if memory is None else memory())}


def timed(run: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each of `rounds` runs, fewer if they take long."""
    seconds: list[float] = []
    while len(seconds) < rounds and (len(seconds) < LEAST_ROUNDS or sum(seconds) < MOST_SECONDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def spread(seconds: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "rounds": len(seconds)}


def first_line(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:300]}" if said else type(error).__name__
