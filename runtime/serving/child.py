"""A process that does one kind of work: what it decodes may crash it, and takes nothing else along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from runtime.errors import SeparationError

SILENCE = 600.0  # s without a word after which a process is taken for hanging
GRACE = 5.0  # s in which a killed process ends
WORDS = {9: " (out of memory?)", 11: " (SIGSEGV)", 6: " (SIGABRT)", 24: " (SIGXCPU)"}
Tell = Callable[[Any], None]
Work = Callable[[Any, Tell], Any]  # an order and what hears of its progress -> an answer


class ChildDiedError(Exception):
    """The process ended, or was ended as it took too long; the text says which."""


class BrokenWorkError(Exception):
    """The work failed in a way that nobody has thought of; the text is a traceback."""


class Child:
    """A process in which `opener` makes the work, once. `memory` limits its address space, in bytes.

    Its methods are for one thread at a time, but for `kill`.
    """

    def __init__(self, opener: Callable[[], Work], memory: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(opener, memory, theirs), daemon=True)
        try:
            self._process.start()
        finally:
            theirs.close()  # so that the pipe closes when the process ends

    def ask(self, order: Any, tell: Tell, seconds: float) -> Any:
        """The answer to `order`; `tell` gets what the work says meanwhile. None only opens. At most `seconds`.

        Raises ChildDiedError, after which there is nothing left to ask; SeparationError as the work raised it;
        BrokenWorkError.
        """
        end = time.monotonic() + seconds
        with suppress(OSError):
            self._pipe.send(order)
        while True:
            left = end - time.monotonic()
            try:
                if left <= 0 or not self._pipe.poll(min(left, SILENCE)):
                    self.kill()
                    said = f"for {SILENCE:.0f} s" if left > SILENCE else f"within {seconds:.0f} s"
                    raise ChildDiedError(f"it was stopped, as it was not ready {said}")
                kind, content = self._pipe.recv()
            except (EOFError, OSError) as error:
                raise ChildDiedError(self._why()) from error
            if kind == "answer":
                return content
            if kind == "refused":
                raise content
            if kind == "broken":
                raise BrokenWorkError(content)
            tell(content)

    def _why(self) -> str:
        self._process.join(GRACE)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"it ended with exit code {code}"
        return f"killed by signal {-code}{WORDS.get(-code, '')}"

    def kill(self) -> None:
        """End the process, at whatever it is. Also from another thread: then `ask` raises ChildDiedError."""
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.join(GRACE)
        self._pipe.close()


def _serve(opener: Callable[[], Work], memory: int | None, pipe: Connection) -> None:
    """In the new process: do what comes through `pipe`, until it closes."""
    for name in ("SIGINT", "SIGHUP"):  # those of a terminal are for the server, which ends its processes
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if memory is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    work: Work | None = None
    with suppress(EOFError, OSError):
        while True:
            order = pipe.recv()
            try:
                work = work or opener()
                said = "answer", order and work(order, lambda content: pipe.send(("told", content)))
            except SeparationError as error:
                said = "refused", error
            except MemoryError:
                said = "refused", SeparationError("it takes more memory than a worker has here")
            except Exception:
                said = "broken", traceback.format_exc()
            pipe.send(said)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
