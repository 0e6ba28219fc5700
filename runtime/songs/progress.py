"""How far a song is, on a terminal: part done, speed and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from runtime.printable import printable

# What is done with a song, one after the other.
SEPARATION = "separation"
PICTURE = "picture"
Tell = Callable[[str, int | None, int, int], None]  # one of these, samples of the song if known, Hz, samples done


@contextmanager
def song_progress(label: str, samples: int | None, sample_rate: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of samples done, of `samples` (None: unknown) at `sample_rate` Hz.

    Shown on standard error if that is a terminal, and removed at the end; otherwise nothing is shown.
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


@contextmanager
def all_progress(label: str) -> Iterator[Tell]:
    """Yields a function that shows all that is done with a song, as `song_progress` does."""
    with ExitStack() as shown:
        stage = ""
        update: Callable[[int], None] = _ignored

        def tell(what: str, samples: int | None, sample_rate: int, done: int) -> None:
            nonlocal stage, update
            if what != stage:
                shown.close()
                name = label if what == SEPARATION else f"{label}: {what}"
                stage, update = what, shown.enter_context(song_progress(name, samples, sample_rate))
            elif done:
                update(done)

        yield tell


def _ignored(done: int) -> None:
    """Nothing has begun."""


def state(done: int, samples: int | None, sample_rate: int, took: float) -> str:
    """How far a song is after `took` seconds: "25%  0.31x real time  0:01:04 left"."""
    seconds = done / sample_rate
    words = [f"{done / samples:.0%}" if samples else f"{timedelta(seconds=round(seconds))} done"]
    if done and took:
        words.append(pace(seconds, took))
        if samples:
            words.append(f"{timedelta(seconds=round(took * max(0, samples - done) / done))} left")
    return "  ".join(words)


def pace(seconds: float, took: float) -> str:
    """Seconds of audio per second of work, such as "0.31x real time"."""
    speed = seconds / took
    if speed < 0.01:
        return "less than 0.01x real time"
    return f"{speed:.2g}x real time" if speed < 10 else f"{speed:.0f}x real time"


def duration(seconds: float) -> str:
    """Such as "12.3 s" or "0.25 s"."""
    if seconds < 0.01:
        return "less than 0.01 s"
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
