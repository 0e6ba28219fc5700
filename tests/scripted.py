"""Contenders whose every timing is written down, for tests of how they are measured and shown."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from runtime.bench.contenders import Work
from runtime.bench.machine import Machine
from runtime.bench.results import Bench, Outcome, Product, Products, ProductTime
from runtime.bench.worker import ContenderError
from runtime.errors import EngineError

WORK = Work(frames=11, batch=1, seconds=2.0)
MACHINE = Machine("a CPU", 2, 2, 8 * 10**9, 0.5, "a system", "3.11.0", {"numpy": "2.0.0"}, None)


@dataclass(frozen=True)
class Scripted:
    """Takes `seconds`, run by run, without taking them; or does what `act` says when it runs."""

    name: str
    seconds: tuple[float, ...] = (1.0,)
    executor: str = "script, CPU"
    work: Work = WORK
    optional: bool = False
    act: str = ""

    def open(self) -> ScriptedSession:
        if self.act == "refuse":
            raise EngineError("cannot be opened: do something else")
        return ScriptedSession(self)


class ScriptedSession:
    def __init__(self, script: Scripted) -> None:
        self.executor = script.executor
        self._script = script
        self._left = list(script.seconds)

    def run(self, work: Work) -> float:
        if self._script.act == "raise":
            raise ZeroDivisionError("two\nlines")
        if self._script.act == "die":
            os._exit(3)
        return self._left.pop(0)

    def start_child(self) -> tuple[int, int]:
        """A process of its own and what it has started, by their ids."""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        return os.getpid(), child.pid

    def stages(self, work: Work) -> dict[str, float]:
        return dict.fromkeys(("read", "stft", "engine", "istft", "write", "other"), 0.25)

    def each(self) -> list[ProductTime]:
        return [ProductTime(Product((3, 4), (4, 5), True, "float"), 2, 0.125)]


class InProcess:
    """In the place of a `Worker`: the same answers, here. `calls` says who was asked what, in order."""

    calls: list[tuple[str, str]]

    def __init__(self, contender: Scripted) -> None:
        self._contender = contender
        self.closed = False

    def wait_until_ready(self) -> None:
        """Always is."""

    def call(self, method: str, *args: object) -> object:
        self.calls.append((self._contender.name, method))
        try:
            if method == "open":
                self._session = self._contender.open()
                return 0.5, self._session.executor
            return 10**8 if method == "peak_memory" else getattr(self._session, method)(*args)
        except Exception as error:
            raise ContenderError(f"{self._contender.name}: {error}") from error

    def close(self) -> None:
        self.closed = True


def outcome(name: str, seconds: list[float], kind: str = "engine", **changes: object) -> Outcome:
    """Measured in `seconds`, after one run of warm-up of 9 s."""
    values = {"executor": "script, CPU", "open_seconds": 0.5, "warmup": 1, "run_seconds": [9.0, *seconds]} | changes
    return Outcome(name, kind, "fp32", values.pop("work", WORK), **values)


def products(seconds: list[float]) -> Products:
    return Products(seconds, [ProductTime(Product((3, 4), (4, 5), True, "float"), 2, 0.125)])


def bench_of(*outcomes: Outcome, **changes: object) -> Bench:
    values = {"created": "2026-01-01T00:00:00+00:00", "rounds": 3, "warmup": 1, "threads": None, "device": "auto"}
    return Bench(**values | changes, machine=MACHINE, outcomes=list(outcomes))
