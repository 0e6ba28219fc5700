"""Processes that do as they are told through a pipe: how they start, die and end."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, NoReturn

GRACE = 5.0  # s in which a process that was told to stop removes what it has begun to write
FROM_TERMINAL = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
HINTS = {9: "out of memory?", 4: "SIGILL", 6: "SIGABRT", 11: "SIGSEGV", 15: "SIGTERM"}  # of signals, by their numbers


class WorkerDiedError(Exception):
    """A process has ended without being told to; the text says why, such as "killed by signal 9"."""


class Orders:
    """In the new process: what it is told to do, and what it answers."""

    def __init__(self, pipe: Connection) -> None:
        self.stopping = threading.Event()
        self.tell = pipe.send  # raises OSError if the one who started this process is gone
        self._pipe = pipe
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self) -> Any:
        """The next order, once there is one."""
        return self._queue.get()

    def check(self) -> None:
        """Ends the work if that was asked for, though something took the exception of the signal."""
        if self.stopping.is_set():
            raise KeyboardInterrupt

    def _listen(self) -> None:
        try:
            while True:
                self._queue.put(self._pipe.recv())
        except (EOFError, OSError):  # the one who started this process is gone
            os.kill(os.getpid(), signal.SIGTERM)


class Child:
    """A process that calls `work` with its `Orders` and `arguments`. Must be stopped.

    It ends by itself when the process that started it is gone; `work` is then interrupted, so that it can clean up.
    `memory` limits its address space, in bytes.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any, memory: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()  # `multiprocessing.connection.wait` waits for its messages
        self._process = context.Process(target=_live, args=(theirs, memory, work, arguments), daemon=True)
        try:
            with _undisturbed():
                self._process.start()
        finally:
            theirs.close()  # so that the pipe closes when the process ends

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def send(self, order: Any) -> None:
        """An order; if the process is dead, `hear` says so."""
        with suppress(OSError):
            self.pipe.send(order)

    def hear(self) -> Any:
        """Its next message. Raises WorkerDiedError."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(self._why()) from error

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

    def kill(self) -> None:
        """End the process at once, and those it has started."""
        with suppress(AttributeError, OSError):  # Windows has no process groups; the process may be gone
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def stop(self, grace: float = GRACE) -> None:
        """End the process and those it has started, at the latest after `grace` seconds."""
        self.terminate()
        self._process.join(grace)
        self.kill()
        self._process.join(GRACE)
        self.pipe.close()


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


def _live(pipe: Connection, memory: int | None, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """The life of the new process."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C goes to the one who started it, who ends this process and its programs
    for each in FROM_TERMINAL:
        signal.signal(each, signal.SIG_IGN)
    orders = Orders(pipe)

    def stop(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        orders.stopping.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        _limit(memory)
        with suppress(OSError):  # the one who started it is gone
            work(orders, *arguments)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)


def _limit(memory: int | None) -> None:
    if memory is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
