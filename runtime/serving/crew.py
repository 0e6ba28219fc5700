"""The processes of the service: workers, each with an engine open, and one that looks at songs that come in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from runtime.cluster.child import WorkerDiedError
from runtime.errors import EngineError, SeparationError
from runtime.printable import printable
from runtime.serving.child import BrokenWorkError, Helper
from runtime.serving.settings import Engine, Limits
from runtime.serving.work import Order, Seen, looking, separating

OPEN_SECONDS = 3600.0  # for an engine: some compile it then
LOOK_SECONDS = 30.0  # to say what a file is
LOOK_TRIES = 2
LOOK_MEMORY = 16 << 30  # bytes of addresses, if no limit is given: libraries reserve some for each core


class Crew:
    """Starts processes and asks them, without holding up the event loop."""

    def __init__(
        self, engines: dict[str, Engine], limits: Limits, workers: int, options: dict[str, Any], ffmpeg: bool
    ) -> None:
        self._engines, self._limits, self._workers = engines, limits, workers
        self._options, self._ffmpeg = options, ffmpeg
        self._looking = asyncio.Lock()
        self._looker: Helper | None = None
        self._threads = ThreadPoolExecutor(workers + 4, thread_name_prefix="bsm-serve")

    async def open(self) -> list[tuple[Engine, Helper | None]]:
        """Each engine once, to see that it works here; what the workers begin with. Raises SeparationError."""
        engines = list(self._engines.values())
        first = [(engines[i % len(engines)], self.worker(engines[i % len(engines)])) for i in range(self._workers)]
        rest = [(engine, self.worker(engine)) for engine in engines[self._workers :]]
        told: dict[str, list[str]] = {}
        try:
            for engine, child in [*first, *rest]:
                try:
                    said = await self.in_thread(child.ask, None, print, OPEN_SECONDS)
                except WorkerDiedError as death:
                    raise EngineError(f"{engine.path}: a worker cannot open it: {death}") from death
                except BrokenWorkError as fault:
                    reason = str(fault).strip().splitlines()[-1]
                    raise EngineError(f"{engine.path}: a worker cannot open it ({reason})") from fault
                if told.get(engine.name) != said:
                    told[engine.name] = said
                    log(f"{engine.name}: {'; '.join(said)}")
        except BaseException:
            for _, child in first:
                child.stop(0)
            raise
        finally:
            for _, child in rest:
                child.stop(0)
        self._looker = self._new_looker()
        return list(first)

    def _new_looker(self) -> Helper:
        return Helper(partial(looking, self._ffmpeg), self._limits.memory or LOOK_MEMORY)

    def worker(self, engine: Engine) -> Helper:
        return Helper(partial(separating, engine.path, self._options, self._ffmpeg), self._limits.memory)

    async def look(self, order: Order) -> Seen:
        """What the file of a song declares, found out in a process of its own. Raises SeparationError."""
        async with self._looking:
            for _ in range(LOOK_TRIES):
                self._looker = self._looker or self._new_looker()
                try:
                    return await self.ask(self._looker, order, lambda content: None, LOOK_SECONDS)  # type: ignore[no-any-return]
                except WorkerDiedError as death:
                    log(f"the process that looks at songs died: {death}")
                    self._looker.stop(0)
                    self._looker = None
                except BrokenWorkError as error:
                    log(str(error))
                    raise SeparationError(f"{order.name}: cannot be read as audio") from error
        raise SeparationError(f"{order.name}: cannot be read as audio: what reads it crashed or took too long")

    async def ask(self, child: Helper, order: Order | None, heard: Callable[[Any], None], seconds: float) -> Any:
        loop = asyncio.get_running_loop()
        return await self.in_thread(
            child.ask, order, lambda content: loop.call_soon_threadsafe(heard, content), seconds
        )

    async def in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    def close(self) -> None:
        if self._looker is not None:
            self._looker.stop(0)
        self._threads.shutdown(cancel_futures=True)


def log(text: str) -> None:
    """Names of songs come from strangers, so nothing in them may steer a terminal."""
    lines = map(printable, text.split("\n"))
    print("bsm-serve: " + "\n".join(lines), file=sys.stderr)
