"""What runs in a worker of Ray: an engine, one song at a time, and answers about it meanwhile."""

from __future__ import annotations

import os
import platform
import threading
from dataclasses import dataclass

from runtime.audio.leftovers import sweep
from runtime.cluster.process import Opener, result_of
from runtime.cluster.work import Failure, Job, Progress, Task
from runtime.errors import EngineError, SeparationError
from runtime.songs.batch import Batch, Outcome
from runtime.songs.progress import Tell
from runtime.songs.stored import batch_for


@dataclass(frozen=True)
class Place:
    """Where a worker runs, and how its engine is."""

    host: str
    pid: int
    notes: list[str]  # of the backend
    error: SeparationError | None = None  # why the engine cannot be opened


@dataclass(frozen=True)
class Result:
    """What became of a song, and the notes of the backend up to then."""

    result: Outcome | Failure
    place: Place


class RayWorker:
    """An actor. Its methods are called in two threads: one separates, the other answers."""

    def __init__(self, job: Job, opener: Opener, lost: list[Task]) -> None:
        """`lost` are songs whose workers died, maybe here: what they left is removed."""
        self._job = job
        self._progress: Progress | None = None
        self._stopping = threading.Event()
        self._batch: Batch | None = None
        self._error: SeparationError | None = None
        for task in lost:
            sweep((job.settings.folder / task.song.name).parent)
        try:
            self._batch = batch_for(opener(job.engine, **job.options), job.engine.name, job.settings)
        except SeparationError as error:  # an exception would come as a death, with Ray's words around it
            self._error = error

    def place(self) -> Place:
        """Answers when the engine is open, or cannot be opened."""
        notes = [] if self._batch is None else list(self._batch.separator.backend.notes)
        return Place(platform.node(), os.getpid(), notes, self._error)

    def separate(self, task: Task) -> Result:
        """Only where the engine is open."""
        if self._batch is None:
            raise EngineError(f"{self._job.engine}: is not open")
        self._progress = None
        return Result(result_of(self._batch, task, self._teller(task)), self.place())

    def _teller(self, task: Task) -> Tell:
        def tell(stage: str, samples: int | None, sample_rate: int, done: int) -> None:
            if self._stopping.is_set():
                raise EngineError("stopped")
            self._progress = Progress(task, stage, done, samples, sample_rate)

        return tell

    def progress(self) -> Progress | None:
        """How far the song is."""
        return self._progress

    def stop(self) -> None:
        """Make `separate` end soon, without parts of stems."""
        self._stopping.set()
