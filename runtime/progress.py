"""How far a song is, on a terminal: part done, pace and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from runtime.command import printable


@contextmanager
def song_progress(label: str, samples: int | None, sample_rate: int) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes the samples done so far, of `samples` (None: unknown) at `sample_rate` Hz.

    Shows on standard error while it is a terminal, and leaves nothing behind; shows nothing anywhere else.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(),
    )
    start = time.perf_counter()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(printable(label), total=samples, done="", pace="")

        def update(done: int) -> None:
            seconds, took = done / sample_rate, time.perf_counter() - start
            part = f"{done / samples:.0%}" if samples else f"{seconds:.0f} s"
            bar.update(task, completed=done, done=part, pace=f"{seconds / took:.2g}x real time" if took else "")

        yield update
