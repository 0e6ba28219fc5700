"""The service behind the routes: a queue of jobs, workers that take them, and what removes them in the end."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.cluster.child import WorkerDiedError
from runtime.cluster.work import TRIES
from runtime.errors import EngineError, ManifestError, SeparationError
from runtime.printable import printable
from runtime.serving.child import BrokenWorkError, Helper, TooSlowError
from runtime.serving.crew import OPEN_SECONDS, Crew, log
from runtime.serving.events import Changes
from runtime.serving.jobs import CANCELLED, DONE, FAILED, WAITING, WORKING, Job, Store
from runtime.serving.metrics import Counts
from runtime.serving.settings import Engine, Limits
from runtime.serving.work import Order

SWEEP = 30.0  # s between two looks for what has expired
INTERNAL = "the song cannot be separated: an error of the server, which its log describes"


class Service:
    """Separates the jobs of `store`, `workers` at a time. All methods run in one event loop."""

    def __init__(
        self,
        engines: dict[str, Engine],
        store: Store,
        limits: Limits,
        workers: int,
        options: dict[str, Any],
        ffmpeg: bool = False,
    ) -> None:
        """`options`: of `open_separator`, without the engine."""
        self.engines, self.store, self.limits, self.workers = engines, store, limits, workers
        self.counts, self.changes = Counts(), Changes()
        self.stopping = asyncio.Event()
        self.receiving = 0  # songs that have a place in the queue, though they are not whole yet
        self.crew = Crew(engines, limits, workers, options, ffmpeg)
        self._queue: deque[Job] = deque()
        self._more = asyncio.Event()
        self._disk = asyncio.Lock()
        self._children: dict[str, Helper] = {}  # by the id of the job they work on
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the engines and begin. Raises SeparationError if an engine cannot be opened."""
        first = await self.crew.open()
        for job in list(self.store.jobs.values()):
            if job.engine not in self.engines and not job.is_final:
                await self._end(job, FAILED, f"its engine {job.engine} is no longer served here: send it again")
            elif job.state == WAITING and job.tries >= TRIES:
                await self._end(
                    job, FAILED, f"it was begun {job.tries} times, and the server or its worker ended each time"
                )
            elif job.state == WAITING:
                self._queue.append(job)
        self._more.set()
        self._tasks = [asyncio.create_task(self._work(each)) for each in first]
        self._tasks.append(asyncio.create_task(self._expire()))

    async def stop(self) -> None:
        """End the work; jobs that are not finished wait for the next start, without having lost a try."""
        self.stopping.set()
        for task in self._tasks:
            task.cancel()
        for child in self._children.values():
            child.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for job in self.store.unfinished():
            if job.state == WORKING:
                job.state, job.tries = WAITING, job.tries - 1
                await self._keep(job)
        self.crew.close()

    # What clients ask for.

    def is_full(self) -> bool:
        return len(self._queue) + self.receiving >= self.limits.queue

    def retry_after(self) -> int:
        """Seconds after which a full queue may have a place."""
        left = [job.seconds_left for job in self.store.jobs.values() if job.state == WORKING]
        known = [each for each in left if each is not None]
        return max(2, min(600, round(min(known)))) if known else 10

    def place(self, job: Job) -> int | None:
        """In the queue; 1: the next."""
        return self._queue.index(job) + 1 if job.state == WAITING and job in self._queue else None

    def promised_room(self) -> int:
        """Bytes that songs which are not finished may still take."""
        return sum(job.room for job in self.store.unfinished())

    async def accept(self, job: Job, received: Path) -> None:
        """A job whose song is in the folder `received`."""
        async with self._disk:
            await self.crew.in_thread(self.store.add, job, received)
        self._queue.append(job)
        self._more.set()

    async def cancel(self, job: Job) -> None:
        """Cancel a job that is not final, and remove one that is."""
        if job.is_final:
            async with self._disk:
                await self.crew.in_thread(self.store.remove, job)
            return
        child = self._children.get(job.id)
        job.state = CANCELLED  # what its worker says from now on is not heard
        with suppress(ValueError):  # not in the queue
            self._queue.remove(job)
            self.changes.tell_all()
        if child is not None:
            child.kill()
        await self._end(job, CANCELLED, None)

    # What happens meanwhile.

    async def _work(self, first: tuple[Engine, Helper | None]) -> None:
        """One job after the other, in one process as long as the engine stays the same."""
        engine, child = first
        try:
            while True:
                job = await self._next()
                wanted = self.engines[job.engine]
                if child is not None and engine is not wanted:
                    await self.crew.in_thread(child.stop)
                    child = None
                if child is None:
                    engine, child = wanted, await self.crew.in_thread(self.crew.worker, wanted)
                if not await self._separate(job, child):
                    await self.crew.in_thread(child.stop)
                    child = None
        finally:
            if child is not None:
                child.stop(0)

    async def _next(self) -> Job:
        while True:
            while self._queue:
                job = self._queue.popleft()
                if job.state == WAITING:
                    self.changes.tell_all()  # all have moved up
                    return job
            self._more.clear()
            await self._more.wait()

    async def _separate(self, job: Job, child: Helper) -> bool:
        """One try; returns whether the worker lives."""
        if job.state != WAITING:  # cancelled while the worker came up
            return True
        job.state, job.tries, job.progress, job.started = WORKING, job.tries + 1, 0.0, time.time()
        self._children[job.id] = child
        await self._keep(job)

        def heard(share: float) -> None:
            job.progress = max(job.progress, share)
            self.changes.tell(job)

        song = self.store.path(job) / "song"
        order = Order(song, job.name, job.format, self.limits.seconds, tuple(job.stems))
        state, error, lives, again = FAILED, None, True, False
        answer: dict[str, Any] = {"seconds": job.seconds, "stems": []}
        try:
            await self.crew.ask(child, None, heard, OPEN_SECONDS)  # a new one opens its engine first
            answer = await self.crew.ask(child, order, heard, self.limits.work)
            state = DONE
        except WorkerDiedError as death:
            error, lives, again = str(death), False, not isinstance(death, TooSlowError)
        except (EngineError, ManifestError, BrokenWorkError) as fault:  # its text names files of this machine
            log(f"job {job.id}: {fault}")
            error = INTERNAL
        except SeparationError as refusal:
            error = str(refusal)
        self._children.pop(job.id, None)
        if job.state != WORKING:  # cancelled: the worker was killed, whether or not it had finished
            return False
        if self.stopping.is_set() and not lives:
            return False
        if again:
            await self._after_death(job, error or "")
        else:
            if state == DONE:
                self.counts.song_seconds += answer["seconds"]
                self.counts.work_seconds += time.time() - (job.started or time.time())
            await self._end(job, state, error, answer["seconds"], answer["stems"])
        return lives

    async def _after_death(self, job: Job, reason: str) -> None:
        self.counts.deaths += 1
        log(f"job {job.id}: its worker died ({reason}), try {job.tries} of {TRIES}")
        if job.tries >= TRIES:
            await self._end(job, FAILED, f"its worker died {job.tries} times: {reason}")
            return
        job.state, job.progress, job.started = WAITING, 0.0, None
        await self._keep(job, tidy=True)
        self._queue.appendleft(job)
        self._more.set()

    async def _end(
        self, job: Job, state: str, error: str | None, seconds: float | None = None, files: Sequence[Any] = ()
    ) -> None:
        """Its last state, which is told when what it no longer needs is removed."""
        ended = replace(job, state=state, finished=time.time(), seconds=seconds or job.seconds, files=list(files))
        ended.error = error and printable(error).split("\n")[0]
        ended.progress = 1.0 if state == DONE else job.progress
        await self._write(ended, tidy=True)
        if job.state == CANCELLED and state != CANCELLED:  # meanwhile; what cancels it comes after this
            return
        vars(job).update(vars(ended))
        self.counts.finished[state] += 1
        self.changes.tell(job)

    async def _keep(self, job: Job, tidy: bool = False) -> None:
        await self._write(job, tidy)
        self.changes.tell(job)

    async def _write(self, job: Job, tidy: bool) -> None:
        """Its state on the disk. A full disk does not stop the work: then a restart finds an earlier state."""
        async with self._disk:
            try:
                await self.crew.in_thread(self.store.save, job)
            except OSError as error:
                log(f"job {job.id}: its state cannot be written ({error.strerror})")
            if tidy:
                with suppress(OSError):
                    await self.crew.in_thread(self.store.tidy, job)

    async def _expire(self) -> None:
        while True:
            now = time.time()
            for job in list(self.store.jobs.values()):
                if job.finished is not None and now - job.finished >= self.limits.keep:
                    await self.cancel(job)
            await asyncio.sleep(min(SWEEP, max(0.1, self.limits.keep / 10)))
