"""Many songs on a terminal: how many are done, and how far each is that a worker is at."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from runtime.cluster.work import Event, Finished, Progress, Retried, Started
from runtime.printable import printable
from runtime.songs.progress import PICTURE, state


class Display:
    """Shown on standard error if that is a terminal, and removed at the end; a context manager."""

    def __init__(self, songs: int) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[state]}"))
        # What is printed meanwhile goes above the bars, but not a standard output that is no terminal.
        self._bars = Bars(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        self._songs = songs
        self._done = 0
        self._all = self._bars.add_task("all songs", total=songs, state="")
        self._rows: dict[int, tuple[TaskID, float]] = {}  # by the song's number: its row, and when it began

    def hear(self, event: Event) -> None:
        if isinstance(event, Started):
            self._remove(event.task.number)
            row = self._bars.add_task(printable(event.task.song.path.name), total=None, state="")
            self._rows[event.task.number] = row, time.perf_counter()
        elif isinstance(event, Progress) and event.task.number in self._rows:
            row, start = self._rows[event.task.number]
            words = state(event.done, event.samples, event.sample_rate, time.perf_counter() - start)
            words = "picture" if event.stage == PICTURE else words
            self._bars.update(row, completed=event.done, total=event.samples, state=words)
        elif isinstance(event, Retried):
            self._remove(event.task.number)
        elif isinstance(event, Finished):
            self._remove(event.task.number)
            self.count()

    def count(self) -> None:
        """One more song is done."""
        self._done += 1
        self._bars.update(self._all, completed=self._done, state=f"{self._done} of {self._songs}")

    def _remove(self, number: int) -> None:
        row = self._rows.pop(number, None)
        if row is not None:
            self._bars.remove_task(row[0])

    def __enter__(self) -> Display:
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)
