"""A run of many songs through an executor: its journal, what is printed, its exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from runtime.cluster.display import Display
from runtime.cluster.work import TRIES, Event, Executor, Failure, Finished, Note, Retried, Task
from runtime.songs.batch import Outcome
from runtime.songs.inputs import NamedSong
from runtime.songs.journal import Journal
from runtime.songs.known import KnownSongs
from runtime.songs.telling import near, outcome_lines, say, summary


def drive(
    executor: Executor,
    songs: Sequence[NamedSong],
    journal: Journal | None = None,
    known: KnownSongs | None = None,
    debug: bool = False,
) -> int:
    """Separate `songs`, but for `known` ones, and tell what becomes of each; `debug` prints tracebacks, too.

    Returns the exit code: 2 if a song failed. Raises SeparationError if no worker can start.
    """
    start = time.perf_counter()
    told = _Telling(journal, debug)
    with Display(len(songs)) as display:
        tasks: list[Task] = []
        for number, song in enumerate(songs, 1):
            outcome = None if known is None else known.outcome(song)
            if outcome is None:
                tasks.append(Task(number, song))
            else:
                display.count()
                told.finished(Finished(Task(number, song), outcome, ""))
        with closing(executor.run(iter(tasks))) as events:
            for event in events:
                display.hear(event)
                told.hear(event)
    return told.end(time.perf_counter() - start)


class _Telling:
    def __init__(self, journal: Journal | None, debug: bool) -> None:
        self._journal, self._debug = journal, debug
        self._done: list[Outcome] = []
        self._failures = 0
        self._here = Path.cwd()

    def hear(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.finished(event)
        elif isinstance(event, Retried):
            name = near(event.task.song.path, self._here)
            say(f"{name}: its process died ({event.reason}), it is tried again ({event.tries} of {TRIES})")
        elif isinstance(event, Note):
            say(event.text)

    def finished(self, event: Finished) -> None:
        song, result = event.task.song.path, event.result
        how = {"tries": event.tries} if event.tries > 1 else {}
        if isinstance(result, Failure):
            self._failures += 1
            if self._journal is not None:
                self._journal.add_failed(song, result.reason, **how)
            if self._debug and result.details:
                print(result.details, file=sys.stderr)
            say(result.reason)
        else:
            self._done.append(result)
            if self._journal is not None:
                self._journal.add(**result.fields(), **how)
            print("\n".join(outcome_lines(result, near(song, self._here), self._here)))

    def end(self, took: float) -> int:
        songs = len(self._done) + self._failures
        print(summary(self._done, self._failures, took))
        if self._failures:
            say(f"{self._failures} of {songs} songs failed")
        return 2 if self._failures else 0
