"""A worker: a process with an engine of its own that separates one song at a time and tells how far it is."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from runtime.cluster.child import Child, Orders, WorkerDiedError
from runtime.cluster.work import Event, Failure, Finished, Job, Note, Progress, Task
from runtime.errors import EngineError, SeparationError
from runtime.printable import first_line
from runtime.separation.separator import Separator, open_separator
from runtime.songs.batch import Batch, Outcome
from runtime.songs.progress import Tell

__all__ = ["Opened", "Opener", "Worker", "WorkerDiedError"]

EVERY = 0.25  # s between two reports of progress
Opener = Callable[..., Separator]


@dataclass(frozen=True)
class Opened:
    """The engine is open, and the worker waits for a song."""

    executor: str  # library, version and device that run the engine


class Worker(Child):
    """A process that opens the engine of `job`, as `name`. Must be stopped.

    It ends by itself, without leaving parts of stems, when the process that started it is gone. `memory` limits its
    address space, in bytes; a song that needs more fails. `opener` is called in it with the engine and the job's
    options.
    """

    def __init__(self, job: Job, name: str, memory: int | None = None, opener: Opener = open_separator) -> None:
        self.job, self.name = job, name
        self.task: Task | None = None  # what it is working on
        self.is_open = False
        super().__init__(serve, job, name, opener, memory=memory)

    def start(self, task: Task) -> None:
        """Begin with `task`. Its messages end with Finished; if the worker is dead, `receive` says so."""
        self.task = task
        self.send(task)

    def receive(self) -> Opened | Event:
        """Its next message. Raises WorkerDiedError, or what opening the engine raised: SeparationError."""
        message = self.hear()
        if isinstance(message, SeparationError):
            raise message
        if isinstance(message, Opened):
            self.is_open = True
        elif isinstance(message, Finished):
            self.task = None
        return message  # type: ignore[no-any-return]


def serve(orders: Orders, job: Job, name: str, opener: Opener) -> None:
    """In the new process: open the engine, then separate the tasks of `orders`."""
    try:
        separator = opener(job.engine, **job.options)
        batch = Batch(separator, job.engine.name, job.settings)
    except SeparationError as error:
        orders.tell(error)
    except Exception as error:
        reason = "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
        orders.tell(EngineError(f"{job.engine}: cannot be opened in a process of its own ({first_line(reason)})"))
    else:
        with closing(separator):
            _work(batch, name, orders)


def _work(batch: Batch, name: str, orders: Orders) -> None:
    backend, told = batch.separator.backend, 0
    orders.tell(Opened(backend.name))
    while not orders.stopping.is_set():
        for note in backend.notes[told:]:
            orders.tell(Note(note))
        told = len(backend.notes)
        task = orders.next()
        orders.tell(Finished(task, _result(batch, task, _teller(task, orders)), name))


def _teller(task: Task, orders: Orders) -> Tell:
    """Sends how far `task` is, not too often."""
    last, before = 0.0, ""

    def tell(stage: str, samples: int | None, sample_rate: int, done: int) -> None:
        nonlocal last, before
        orders.check()
        now = time.monotonic()
        if stage != before or now - last >= EVERY:
            last, before = now, stage
            orders.tell(Progress(task, stage, done, samples, sample_rate))

    return tell


def _result(batch: Batch, task: Task, tell: Tell) -> Outcome | Failure:
    existing = "skip" if task.again and batch.settings.existing == "refuse" else None
    try:
        return batch.separate(task.song, tell, existing)
    except SeparationError as error:
        return Failure(str(error), traceback.format_exc())
    except ConnectionError:  # the driver is gone
        raise
    except MemoryError:
        return Failure(f"{task.song.path}: out of memory: use a smaller --batch, or fewer processes with --jobs")
    except Exception as error:
        summary = first_line(f"{type(error).__name__}: {error}")
        return Failure(f"{task.song.path}: internal error, please report it: {summary}", traceback.format_exc())
