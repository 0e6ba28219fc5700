"""How far a song is, on a terminal: part done, pace and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from runtime.printable import printable


@contextmanager
def song_progress(label: str, samples: int | None, sample_rate: int) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes the samples done so far, of `samples` (None: unknown) at `sample_rate` Hz.

    Shows on standard error while it is a terminal, and leaves nothing behind; shows nothing anywhere else.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[state]}"))
    start = time.perf_counter()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(printable(label), total=samples, state="")

        def update(done: int) -> None:
            took = time.perf_counter() - start
            bar.update(task, completed=done, state=state(done, samples, sample_rate, took))

        yield update


def state(done: int, samples: int | None, sample_rate: int, took: float) -> str:
    """Where a song is after `took` seconds, in words: "25%  0.31x real time  0:01:04 left"."""
    seconds = done / sample_rate
    words = [f"{done / samples:.0%}" if samples else f"{timedelta(seconds=round(seconds))} done"]
    if done and took:
        words.append(f"{seconds / took:.2g}x real time")
        if samples:
            words.append(f"{timedelta(seconds=round(took * max(0, samples - done) / done))} left")
    return "  ".join(words)
