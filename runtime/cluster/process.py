"""A worker: a process with an engine of its own that separates one song at a time and tells how far it is."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NoReturn

from runtime.cluster.work import Event, Failure, Finished, Job, Note, Progress, Task
from runtime.errors import EngineError, SeparationError
from runtime.printable import first_line
from runtime.separation.separator import Separator, open_separator
from runtime.songs.batch import Batch, Outcome
from runtime.songs.inputs import shown
from runtime.songs.progress import Tell
from runtime.songs.stored import batch_for

GRACE = 5.0  # s in which a worker that was told to stop removes its parts
EVERY = 0.25  # s between two reports of progress
FROM_TERMINAL = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
HINTS = {9: "out of memory?", 4: "SIGILL", 6: "SIGABRT", 11: "SIGSEGV", 15: "SIGTERM"}  # of signals, by their numbers
Opener = Callable[..., Separator]


@dataclass(frozen=True)
class Opened:
    """The engine is open, and the worker waits for a song."""

    executor: str  # library, version and device that run the engine


class WorkerDiedError(Exception):
    """A worker's process has ended without being told to; the text says why, such as "killed by signal 9"."""


class Worker:
    """A process that opens the engine of `job`, as `name`. Must be stopped.

    It ends by itself, without leaving parts of stems, when the process that started it is gone. `memory` limits its
    address space, in bytes; a song that needs more fails. `opener` is called in it with the engine and the job's
    options.
    """

    def __init__(self, job: Job, name: str, memory: int | None = None, opener: Opener = open_separator) -> None:
        self.job, self.name = job, name
        self.task: Task | None = None  # what it is working on
        self.is_open = False
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()  # `multiprocessing.connection.wait` waits for its messages
        self._process = context.Process(target=serve, args=(job, name, memory, opener, theirs), daemon=True)
        try:
            with _undisturbed():
                self._process.start()
        finally:
            theirs.close()  # so that the pipe closes when the process ends

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def start(self, task: Task) -> None:
        """Begin with `task`. Its messages end with Finished; if the worker is dead, `receive` says so."""
        self.task = task
        with suppress(OSError):
            self.pipe.send(task)

    def receive(self) -> Opened | Event:
        """Its next message. Raises WorkerDiedError, or what opening the engine raised: SeparationError."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(self._why()) from error
        if isinstance(message, SeparationError):
            raise message
        if isinstance(message, Opened):
            self.is_open = True
        elif isinstance(message, Finished):
            self.task = None
        return message  # type: ignore[no-any-return]

    def _why(self) -> str:
        self._process.join(GRACE)
        code = self._process.exitcode
        if code is None:
            return "it does not answer any more"
        if code >= 0:
            return f"it ended with exit code {code}"
        return f"killed by signal {-code}{f' ({HINTS[-code]})' if -code in HINTS else ''}"

    def terminate(self) -> None:
        """Tell it to stop, and to remove what it has begun to write."""
        self._process.terminate()

    def stop(self, grace: float = GRACE) -> None:
        """End the process and those it has started, at the latest after `grace` seconds."""
        self.terminate()
        self._process.join(grace)
        with suppress(AttributeError, OSError):  # Windows has no process groups; the process may be gone
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(GRACE)
        self.pipe.close()


WHY = {
    9: " (out of memory?)",
    **{int(getattr(signal, n)): f" ({n})" for n in ("SIGSEGV", "SIGABRT", "SIGILL", "SIGTERM")},
}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes that start here do not get the terminal's signals, not even before they can ignore them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(job: Job, name: str, memory: int | None, opener: Opener, pipe: Connection) -> None:
    """In the new process: open the engine, then separate what comes through `pipe`, until it closes."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C goes to the driver, which ends this process and its programs
    for each in FROM_TERMINAL:
        signal.signal(each, signal.SIG_IGN)
    stopping = threading.Event()

    def stop(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stopping.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, tasks), daemon=True).start()
    try:
        _limit(memory)
        with suppress(OSError):  # the driver is gone
            try:
                separator = opener(job.engine, **job.options)
                batch = batch_for(separator, job.engine.name, job.settings)
            except SeparationError as error:
                pipe.send(error)
            except Exception as error:
                reason = "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
                pipe.send(EngineError(f"{job.engine}: cannot be opened in a process of its own ({first_line(reason)})"))
            else:
                with closing(separator):
                    _work(batch, name, tasks, stopping, pipe)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)


def _listen(pipe: Connection, tasks: queue.SimpleQueue[Task]) -> None:
    try:
        while True:
            tasks.put(pipe.recv())
    except (EOFError, OSError):  # the driver is gone
        os.kill(os.getpid(), signal.SIGTERM)


def _limit(memory: int | None) -> None:
    if memory is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _work(batch: Batch, name: str, tasks: queue.SimpleQueue[Task], stopping: threading.Event, pipe: Connection) -> None:
    backend, told = batch.separator.backend, 0
    pipe.send(Opened(backend.name))
    while not stopping.is_set():
        for note in backend.notes[told:]:
            pipe.send(Note(note))
        told = len(backend.notes)
        task = tasks.get()
        pipe.send(Finished(task, result_of(batch, task, _teller(task, pipe, stopping)), name))


def _teller(task: Task, pipe: Connection, stopping: threading.Event) -> Tell:
    """Sends how far `task` is, not too often."""
    last, before = 0.0, ""

    def tell(stage: str, samples: int | None, sample_rate: int, done: int) -> None:
        nonlocal last, before
        if stopping.is_set():  # something took the exception of the signal
            raise KeyboardInterrupt
        now = time.monotonic()
        if stage != before or now - last >= EVERY:
            last, before = now, stage
            pipe.send(Progress(task, stage, done, samples, sample_rate))

    return tell


def result_of(batch: Batch, task: Task, tell: Tell) -> Outcome | Failure:
    existing = "skip" if task.again and batch.settings.existing == "refuse" else None
    try:
        return batch.separate(task.song, tell, existing)
    except SeparationError as error:
        return Failure(str(error), traceback.format_exc())
    except ConnectionError:  # the driver is gone
        raise
    except MemoryError:
        return Failure(f"{shown(task.song.path)}: out of memory: use a smaller --batch, or fewer processes with --jobs")
    except Exception as error:
        summary = first_line(f"{type(error).__name__}: {error}")
        return Failure(f"{shown(task.song.path)}: internal error, please report it: {summary}", traceback.format_exc())
