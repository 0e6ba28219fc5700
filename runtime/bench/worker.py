"""A contender in its own process, so that its memory can be measured and it does not affect the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from runtime.bench.contenders import Contender, Session
from runtime.engine.memory import peak_memory
from runtime.errors import SeparationError

JOIN_SECONDS = 10.0


class ContenderError(SeparationError):
    """A contender failed or its process died."""


class Worker:
    """The process of `contender`, controlled from here. Must be closed."""

    def __init__(self, contender: Contender) -> None:
        self._name = contender.name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(contender, theirs), daemon=True)
        try:
            self._process.start()
        finally:
            theirs.close()  # so that the pipe closes when the process ends

    def wait_until_ready(self) -> None:
        """Return once the process has started. Raises ContenderError."""
        self._receive()

    def call(self, method: str, *args: object) -> Any:
        """The result of a method of the opened session, or of "open" or "peak_memory". Raises ContenderError.

        "open" returns its seconds and the executor, "peak_memory" bytes, or None if unknown.
        """
        try:
            self._pipe.send((method, args))
        except OSError as error:  # the process is gone
            raise self._died() from error
        return self._receive()

    def _receive(self) -> Any:
        try:
            done, value, details = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if done:
            return value
        raise ContenderError(f"{self._name}: {value}") from RuntimeError(details)

    def _died(self) -> ContenderError:
        self._process.join(JOIN_SECONDS)
        code = self._process.exitcode
        hint = "; probably out of memory" if code == -signal.SIGKILL else ""
        return ContenderError(f"{self._name}: its process died (exit code {code}{hint})")

    def close(self) -> None:
        """End the process and all processes it has started."""
        self._pipe.close()
        if self._process.pid is None:
            return
        # Windows has no process groups; the process may be gone.
        with suppress(AttributeError, ProcessLookupError):
            if os.getpgid(self._process.pid) == self._process.pid:  # after it has created its group
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(JOIN_SECONDS)


def serve(contender: Contender, pipe: Connection) -> None:
    """Answer the parent's calls until it closes the pipe."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C goes to the parent, which ends this process group
    session: Session | None = None
    with suppress(EOFError, OSError):  # the parent is gone
        pipe.send((True, None, ""))
        while True:
            method, args = pipe.recv()
            try:
                if method == "open":
                    start = time.perf_counter()
                    session = contender.open()
                    value: Any = (time.perf_counter() - start, session.executor)
                else:
                    value = peak_memory() if method == "peak_memory" else getattr(session, method)(*args)
            except Exception as error:
                answer: tuple[bool, Any, str] = (False, _reason(error), traceback.format_exc())
            else:
                answer = (True, value, "")
            pipe.send(answer)


def _reason(error: Exception) -> str:
    """One line; errors from outside this project with their type."""
    first = (str(error).strip().splitlines() or [""])[0][:300]
    if isinstance(error, SeparationError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory: use a smaller batch, a shorter chunk or fewer contenders"
    return f"{type(error).__name__}: {first}"
