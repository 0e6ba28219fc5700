"""A process that does one kind of work: what it decodes may crash it, and takes nothing else along."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from typing import Any

from runtime.cluster.child import Child, Orders, WorkerDiedError
from runtime.errors import SeparationError

SILENCE = 600.0  # s without a word after which a process is taken for hanging
NICE = 5  # the server's own process answers first where cores are few
Tell = Callable[[Any], None]
Work = Callable[[Any, Tell], Any]  # an order and what hears of its progress -> an answer


class TooSlowError(WorkerDiedError):
    """It was stopped, as its work took too long."""


class BrokenWorkError(Exception):
    """The work failed in a way that nobody has thought of; the text is a traceback."""


class Helper(Child):
    """A process in which `opener` makes the work, once, and does it. Asked by one thread at a time."""

    def __init__(self, opener: Callable[[], Work], memory: int | None = None) -> None:
        super().__init__(_obey, opener, memory=memory)

    def ask(self, order: Any, tell: Tell, seconds: float) -> Any:
        """The answer to `order`; `tell` gets what the work says meanwhile. At most `seconds`.

        Raises WorkerDiedError, after which there is nothing left to ask, TooSlowError among it; SeparationError as the
        work raised it; BrokenWorkError.
        """
        end = time.monotonic() + seconds
        self.send(order)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not self.pipe.poll(min(left, SILENCE)):
                self.kill()
                said = f"for {SILENCE:.0f} s" if left > SILENCE else f"within {seconds:.3g} s"
                raise TooSlowError(f"it was stopped, as it was not ready {said}")
            kind, content = self.hear()
            if kind == "answer":
                return content
            if kind == "refused":
                raise content
            if kind == "broken":
                raise BrokenWorkError(content)
            tell(content)


def _obey(orders: Orders, opener: Callable[[], Work]) -> None:
    """In the new process."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    work: Work | None = None

    def tell(content: Any) -> None:
        orders.check()
        orders.tell(("told", content))

    while not orders.stopping.is_set():
        order = orders.next()
        said: tuple[str, Any]
        try:
            work = work or opener()
            said = "answer", work(order, tell)
        except SeparationError as error:
            said = "refused", error
        except MemoryError:
            said = "refused", SeparationError("it takes more memory than a worker has here")
        except ConnectionError:  # the server is gone
            raise
        except Exception:
            said = "broken", traceback.format_exc()
        orders.tell(said)
