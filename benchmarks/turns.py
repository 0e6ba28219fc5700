"""ONNX graphs timed in turns, each in a process of its own: none disturbs another, and memory is its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bench.worker import Worker


@dataclass(frozen=True)
class Form:
    """A graph, and how ONNX Runtime is asked to run it. Opened in the process of its own."""

    name: str
    path: Path
    shape: tuple[int, ...]  # of the mixture
    threads: int
    options: dict[str, Any] = field(default_factory=dict)  # attributes of SessionOptions
    entries: dict[str, str] = field(default_factory=dict)  # its configuration entries
    side_by_side: int = 1  # runs at a time, in threads
    optional: bool = False

    def open(self) -> Opened:
        return Opened(self)


class Opened:
    def __init__(self, form: Form) -> None:
        import onnxruntime as ort

        from runtime.backends.onnxruntime import session_options

        ort.set_default_logger_severity(3)  # it warns when a form sets an entry again
        options = session_options(form.threads)
        options.enable_mem_pattern = False
        for name, value in form.options.items():
            setattr(options, name, value)
        for name, entry in form.entries.items():
            options.add_session_config_entry(name, entry)
        self.executor = f"onnxruntime {ort.__version__}"
        self._session = ort.InferenceSession(form.path, options, ["CPUExecutionProvider"])
        self._runs, self._chunks = form.side_by_side, form.shape[0] * form.side_by_side
        self._mixture = np.random.default_rng(0).standard_normal(form.shape, np.float32)
        self._pool = ThreadPoolExecutor(form.side_by_side)

    def seconds(self) -> float:
        """Of a chunk: what one round takes, by the chunks in it."""
        start = time.perf_counter()
        list(self._pool.map(lambda _: self._session.run(["stems"], {"mixture": self._mixture}), range(self._runs)))
        return (time.perf_counter() - start) / self._chunks


@contextmanager
def opened(forms: Sequence[Form], method: str) -> Iterator[dict[str, Worker]]:
    """A process for each form, by its name, open and warmed up by one call of `method`."""
    with ExitStack() as stack:
        workers = {form.name: stack.enter_context(closing(Worker(form))) for form in forms}
        for worker in workers.values():
            worker.wait_until_ready()
            worker.call("open")
            worker.call(method)
        yield workers


def compare(forms: list[Form], rounds: int, first_column: str) -> None:
    """Print a table: the seconds a chunk of each form, the ratio to the first, and its process's peak memory."""
    with opened(forms, "seconds") as workers:
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                seconds[name].append(worker.call("seconds"))
        peaks = {name: worker.call("peak_memory") for name, worker in workers.items()}
    print(f"| {first_column} | median, s | range, s | ratio to the first | peak memory, GB |")
    print("| --- | --- | --- | --- | --- |")
    for name, each in seconds.items():
        ratios = [a / b for a, b in zip(each, seconds[forms[0].name], strict=True)]
        print(
            f"| {name} | {statistics.median(each):.2f} | {min(each):.2f} to {max(each):.2f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {peaks[name] / 1e9:.2f} |"
        )
