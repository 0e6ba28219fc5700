"""Server-sent events: a job as it changes, until it is final."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from runtime.serving.jobs import Job

LEAST = 0.25  # s between two events
HEARTBEAT = 15.0  # s after which a comment shows that the connection lives


class Changes:
    """Wakes those who wait for a job to change."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def tell(self, job: Job) -> None:
        for event in self._waiting.get(job.id, ()):
            event.set()

    def tell_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def stream(self, job: Job, fields: Callable[[Job], dict[str, Any]], end: asyncio.Event) -> AsyncIterator[str]:
        """The text of the events of `job`, whose data are its `fields`; until it is final, or `end` is set."""
        changed = asyncio.Event()
        changed.set()
        self._waiting.setdefault(job.id, set()).add(changed)
        sent = None
        try:
            while not end.is_set():
                try:
                    await asyncio.wait_for(changed.wait(), HEARTBEAT)
                except asyncio.TimeoutError:
                    yield ": still here\n\n"
                    continue
                changed.clear()
                final = job.is_final
                data = json.dumps(fields(job))
                if data != sent:
                    sent = data
                    yield f"event: job\ndata: {data}\n\n"
                if final:
                    return
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(end.wait(), LEAST)
        finally:
            self._waiting[job.id].discard(changed)
            if not self._waiting[job.id]:
                del self._waiting[job.id]
