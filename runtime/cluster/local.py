"""Processes of this machine, each with an engine of its own: an executor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from runtime.audio.leftovers import sweep
from runtime.cluster.process import Opened, Opener, Worker, WorkerDiedError
from runtime.cluster.work import TRIES, Event, Failure, Finished, Job, Note, Progress, Retried, Started, Task
from runtime.engine.memory import peak_memory
from runtime.errors import EngineError, SeparationError
from runtime.separation.separator import open_separator
from runtime.songs.batch import Outcome, missing_folders
from runtime.songs.inputs import NamedSong, shown
from runtime.songs.progress import SEPARATION
from runtime.songs.store import is_address

Sizing = Callable[[int | None], tuple[int, dict[str, Any]]]
POLL = 0.5  # s after which tasks are asked for again where none was ready


_END = Task(0, NamedSong(Path(), Path()))  # no song


@dataclass
class _Place:
    """Where a worker works; another one takes the place of a worker that died."""

    name: str
    worker: Worker
    deaths: int = 0  # of workers that did not get to open the engine, one after the other


class LocalProcesses:
    """`jobs` workers for `job`. A song whose worker dies is tried again by the next that is free.

    With `sizing` it begins with one worker; called with the peak memory of that one (bytes, if the system tells) after
    the first of its work, `sizing` says how many workers there shall be, and with which options of the job.
    """

    def __init__(self, job: Job, jobs: int = 1, opener: Opener = open_separator, sizing: Sizing | None = None) -> None:
        self.job, self.jobs = job, jobs
        self._opener, self._sizing = opener, sizing
        self._places: list[_Place] = []
        self._again: deque[Task] = deque()  # songs whose worker died
        self._failed: SeparationError | None = None  # why the last worker could not open the engine
        self._made: list[Path] = []  # folders that were not there before

    def run(self, tasks: Iterator[Task | None]) -> Generator[Event, None, None]:
        """As in `Executor`."""
        try:
            self._fill()
            yield from self._run(tasks)
        finally:
            self._stop()

    def _fill(self) -> None:
        for number in range(len(self._places) + 1, self.jobs + 1):
            self._places.append(_Place(str(number), self._worker(str(number))))

    def _worker(self, name: str) -> Worker:
        return Worker(self.job, name, opener=self._opener)

    def _run(self, tasks: Iterator[Task | None]) -> Iterator[Event]:
        more = True
        while True:
            if self._failed is not None and not self._places:
                raise self._failed
            free = self._free()
            waiting = False
            while free and (self._again or (more and not waiting)):
                if self._again:
                    task: Task | None = self._again.popleft()
                else:
                    task = next(tasks, _END)
                    if task is _END:
                        more = False
                        continue
                if task is None:
                    waiting = True
                    continue
                yield self._begin(free.pop(), task)
            if not more and not self._again and all(place.worker.task is None for place in self._places):
                return
            ready = wait([place.worker.pipe for place in self._places], POLL if waiting else None)
            for place in [place for place in self._places if place.worker.pipe in ready]:
                for event in self._hear(place):
                    if self._sizing is not None and _has_worked(event):
                        self._resize(self._sizing(peak_memory(place.worker.pid)))
                    yield event

    def _resize(self, size: tuple[int, dict[str, Any]]) -> None:
        self._sizing = None
        self.jobs, options = size
        if options != self.job.options:
            self.job = replace(self.job, options=options)
        self._fill()

    def _free(self) -> list[_Place]:
        """Places whose worker waits for a song; a worker with options of before is replaced first."""
        idle = [place for place in self._places if place.worker.is_open and place.worker.task is None]
        for place in idle:
            if place.worker.job is not self.job:
                place.worker.stop()
                place.worker = self._worker(place.name)
        return [place for place in idle if place.worker.is_open]

    def _begin(self, place: _Place, task: Task) -> Started:
        self._make_folder(task)
        place.worker.start(task)
        return Started(task, place.name)

    def _make_folder(self, task: Task) -> None:
        """Here, as a worker that made it would remove it after a failure, while another begins to write into it."""
        folder = self._folder(task)
        if is_address(folder):
            return
        self._made += reversed(missing_folders(folder))
        with suppress(OSError):  # the worker says why
            folder.mkdir(parents=True, exist_ok=True)

    def _folder(self, task: Task) -> Path:
        return (self.job.settings.folder / task.song.name).parent

    def _hear(self, place: _Place) -> Iterator[Event]:
        try:
            message = place.worker.receive()
        except WorkerDiedError as died:
            yield from self._replace(place, str(died))
        except SeparationError as error:
            self._give_up(place, error)
            if any(each.worker.is_open for each in self._places):
                yield Note(f"one process fewer: {error}")
        else:
            if isinstance(message, Opened):
                place.deaths = 0
            elif isinstance(message, Finished):
                yield replace(message, tries=message.task.tries + 1)
            else:
                yield message

    def _replace(self, place: _Place, reason: str) -> Iterator[Event]:
        """Another worker in the place of one that died; what that one left is removed."""
        dead = place.worker
        dead.stop(grace=0)
        if dead.task is not None:
            sweep(self._folder(dead.task))
            yield self._lost(place, dead.task, reason)
        elif not dead.is_open:
            place.deaths += 1
            if place.deaths == TRIES:
                self._give_up(place, EngineError(f"{self.job.engine}: the process that opens it dies: {reason}"))
                return
        place.worker = self._worker(place.name)

    def _lost(self, place: _Place, task: Task, reason: str) -> Event:
        tries = task.tries + 1
        if tries < TRIES:
            self._again.append(replace(task, tries=tries))
            return Retried(task, tries, reason)
        failure = Failure(f"{shown(task.song.path)}: its process died {TRIES} times ({reason})")
        return Finished(task, failure, place.name, tries)

    def _give_up(self, place: _Place, error: SeparationError) -> None:
        place.worker.stop(grace=0)
        self._places.remove(place)
        self._failed = error

    def _stop(self) -> None:
        for place in self._places:
            place.worker.terminate()
        for place in self._places:
            place.worker.stop()
            if place.worker.task is not None:
                sweep(self._folder(place.worker.task))
        for folder in reversed(self._made):
            with suppress(OSError):  # it holds stems
                folder.rmdir()
        self._places, self._made = [], []


def _has_worked(event: Event) -> bool:
    """Whether the engine has run: then it has taken its memory."""
    if isinstance(event, Finished):
        return isinstance(event.result, Outcome) and event.result.report is not None
    return isinstance(event, Progress) and event.stage == SEPARATION and event.done > 0
