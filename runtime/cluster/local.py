"""Processes of this machine, each with an engine of its own: an executor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

from runtime.audio.leftovers import sweep
from runtime.cluster.process import Opened, Opener, Worker, WorkerDiedError
from runtime.cluster.work import TRIES, Event, Failure, Finished, Job, Note, Retried, Started, Task
from runtime.errors import EngineError, SeparationError
from runtime.separation.separator import open_separator
from runtime.songs.batch import missing_folders

POLL = 0.5  # s after which tasks are asked for again where none was ready


@dataclass
class _Place:
    """Where a worker works; another one takes the place of a worker that died."""

    name: str
    worker: Worker
    tries: int = 0  # that were made with the song it works on, this one included
    deaths: int = 0  # of workers that did not get to open the engine, one after the other


class LocalProcesses:
    """`jobs` workers for `job`. A song whose worker dies is tried again by the next that is free."""

    def __init__(self, job: Job, jobs: int, opener: Opener = open_separator) -> None:
        self.job, self.jobs = job, jobs
        self._opener = opener
        self._places: list[_Place] = []
        self._again: deque[tuple[Task, int]] = deque()  # songs whose worker died, and their tries
        self._failed: SeparationError | None = None  # why the last worker could not open the engine
        self._made: list[Path] = []  # folders that were not there before

    def run(self, tasks: Iterator[Task | None]) -> Iterator[Event]:
        """As in `Executor`."""
        try:
            for number in range(1, self.jobs + 1):
                self._places.append(_Place(str(number), self._worker(str(number))))
            yield from self._run(tasks)
        finally:
            self._stop()

    def _worker(self, name: str) -> Worker:
        return Worker(self.job, name, opener=self._opener)

    def _run(self, tasks: Iterator[Task | None]) -> Iterator[Event]:
        more = True
        while True:
            if self._failed is not None and not self._places:
                raise self._failed
            free = [place for place in self._places if place.worker.is_open and place.worker.task is None]
            waiting = False
            while free and (self._again or (more and not waiting)):
                task, tries = self._again.popleft() if self._again else (None, 0)
                if task is None:
                    try:
                        task = next(tasks)
                    except StopIteration:
                        more = False
                        continue
                    if task is None:
                        waiting = True
                        continue
                place = free.pop()
                yield self._begin(place, task, tries + 1)
            if not more and not self._again and all(place.worker.task is None for place in self._places):
                return
            ready = wait([place.worker.pipe for place in self._places], POLL if waiting else None)
            for place in [place for place in self._places if place.worker.pipe in ready]:
                yield from self._hear(place)

    def _begin(self, place: _Place, task: Task, tries: int) -> Started:
        place.tries = tries
        self._make_folder(task)
        place.worker.start(task)
        return Started(task, place.name)

    def _make_folder(self, task: Task) -> None:
        """Here, as a worker that made it would remove it after a failure, while another begins to write into it."""
        folder = self._folder(task)
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
            if self._places:
                yield Note(f"one process fewer: {error}")
        else:
            if isinstance(message, Opened):
                place.deaths = 0
            elif isinstance(message, Finished):
                yield replace(message, tries=place.tries)
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
        if place.tries < TRIES:
            self._again.append((replace(task, again=True), place.tries))
            return Retried(task, place.tries, reason)
        failure = Failure(f"{task.song.path}: its process died {TRIES} times ({reason})")
        return Finished(task, failure, place.name, place.tries)

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
