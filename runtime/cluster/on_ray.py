"""Workers on a cluster of Ray, or on a Ray of this machine's own: an executor.

Each worker is an actor with an engine of its own. For one whose process or machine dies another is asked for, and its
song goes to the next that is free; machines that join get workers. Through Ray go the names of songs and what was done
with them; songs and stems go from and to files.

Ray itself neither starts actors again nor repeats calls: while it does not know yet that a machine is gone, it would
repeat a call to it until the song has no tries left.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.audio.leftovers import sweep
from runtime.backends.device import parse_device
from runtime.cluster.process import Opener
from runtime.cluster.ray_worker import Place, RayWorker, Result
from runtime.cluster.work import TRIES, Event, Failure, Finished, Job, Note, Retried, Started, Task
from runtime.errors import EngineError, OptionError, SeparationError
from runtime.printable import counted, first_line
from runtime.separation.separator import open_separator
from runtime.songs.batch import Settings
from runtime.songs.inputs import shown

LOCAL = "local"  # an address: Ray is started on this machine, for this run only
EVERY = 1.0  # s between two questions how far a song is
PATIENCE = 30.0  # s without any worker after which the user hears what is waited for
GRACE = 30.0  # s in which workers that were told to stop end their song
OBJECTS = 80 << 20  # bytes of the object store of a Ray started here, the least it takes: no audio goes through it


@dataclass(eq=False)
class _Worker:
    actor: Any
    asked: Any  # the answer to come: `Place` until its engine is open, then `Result` while it has a song
    place: Place | None = None
    task: Task | None = None
    told: int = 0  # notes of its backend
    poll: Any = None  # the answer to come of how far its song is
    polled: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        return f"{self.place.host}:{self.place.pid}" if self.place else ""


class OnRay:
    """Workers for `job` with `cpus` CPUs and `gpus` GPUs each, `most` of them at most (None: as many as there is room).

    `address` is `LOCAL`, "auto" for the cluster this machine belongs to, or HOST:PORT of one. `opener` is called in a
    worker with the engine and the job's options.
    """

    def __init__(
        self,
        job: Job,
        address: str = LOCAL,
        most: int | None = None,
        cpus: int = 1,
        gpus: int = 0,
        opener: Opener = open_separator,
    ) -> None:
        self.job, self.address = job, address
        self._most = most
        self._cpus, self._gpus, self._opener = cpus, gpus, opener
        self._workers: list[_Worker] = []
        self._again: deque[Task] = deque()  # songs whose worker died
        self._lost: dict[int, Task] = {}  # all of those so far, by number
        self._failures: list[SeparationError] = []  # of workers that could not open the engine
        self._began = 0.0
        self._tasks: Iterator[Task | None] = iter(())
        self._more = True

    def run(self, tasks: Iterator[Task | None]) -> Generator[Event, None, None]:
        """As in `Executor`. Progress comes every `EVERY` seconds. Raises EngineError if Ray cannot be reached."""
        self._tasks, self._more, self._began = tasks, True, time.monotonic()
        self._ray = _connected(self.address, self._most and self._most * self._cpus)
        try:
            self._room = self._count_room()
            yield from self._run()
        finally:
            try:
                self._stop()
            finally:
                self._ray.shutdown()

    def _run(self) -> Iterator[Event]:
        waited = False
        while True:
            if self._failures and not self._workers and len(self._failures) >= min(TRIES, self._most or TRIES):
                raise self._failures[-1]
            self._hire()
            yield from self._give()
            if not self._more and not self._again:
                if all(worker.task is None for worker in self._workers):
                    return
                self._dismiss_idle()
            yield from self._hear()
            if not waited and time.monotonic() > self._began + PATIENCE:
                waited = True
                if not any(worker.place for worker in self._workers):
                    needs = counted(self._cpus, "CPU") + (f" and {self._gpus} GPU" if self._gpus else "")
                    yield Note(f"Ray at {self.address}: waiting for a machine with {needs} free")

    def _count_room(self) -> int:
        free = self._ray.available_resources()
        fit = int(free.get("CPU", 0) // self._cpus)
        return min(fit, int(free.get("GPU", 0) // self._gpus)) if self._gpus else fit

    def _hire(self) -> None:
        """Ask for workers: as many as there was room for, and then as many more as work already, for new machines.

        Those that find no room wait; an autoscaler takes them as the demand.
        """
        opened = sum(worker.place is not None for worker in self._workers)
        most = self._most or (self._room if self.address == LOCAL else None)
        wanted = max(self._room, 2 * opened, 1)
        if most is not None:
            wanted = min(wanted, most)
        if (self._more or self._again) and len(self._failures) < TRIES:
            while len(self._workers) < wanted:
                self._workers.append(self._hired())

    def _hired(self) -> _Worker:
        remote = self._ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_concurrency=2)(RayWorker)
        actor = remote.remote(self.job, self._opener, list(self._lost.values()))
        return _Worker(actor, actor.place.remote())

    def _give(self) -> Iterator[Event]:
        """Songs to the workers that are free."""
        for worker in self._workers:
            if worker.place is None or worker.task is not None:
                continue
            task = self._again.popleft() if self._again else self._next()
            if task is None:
                return
            worker.task, worker.polled = task, time.monotonic()
            worker.asked = worker.actor.separate.remote(task)
            yield Started(task, worker.name)

    def _next(self) -> Task | None:
        if not self._more:
            return None
        try:
            return next(self._tasks)
        except StopIteration:
            self._more = False
            return None

    def _dismiss_idle(self) -> None:
        """Nothing is left to begin: others may need the room."""
        for worker in [worker for worker in self._workers if worker.task is None]:
            self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        with suppress(Exception):  # Ray may be gone
            self._ray.kill(worker.actor)

    def _hear(self) -> Iterator[Event]:
        """Wait for answers, and ask for progress."""
        answers: dict[Any, tuple[_Worker, Callable[[_Worker, Any], Iterator[Event]]]] = {}
        for worker in self._workers:
            if worker.task is not None and worker.poll is None and time.monotonic() > worker.polled + EVERY:
                worker.poll = worker.actor.progress.remote()
            if worker.poll is not None:
                answers[worker.poll] = worker, self._polled
            if worker.place is None:
                answers[worker.asked] = worker, self._opened
            elif worker.task is not None:
                answers[worker.asked] = worker, self._finished
        if not answers:
            time.sleep(EVERY / 2)
            return
        ready, _ = self._ray.wait(list(answers), num_returns=len(answers), timeout=0)
        if not ready:
            ready, _ = self._ray.wait(list(answers), num_returns=1, timeout=EVERY / 2)
        for answer in ready:
            worker, heard = answers[answer]
            yield from heard(worker, answer)

    def _opened(self, worker: _Worker, answer: Any) -> Iterator[Event]:
        try:
            place: Place = self._ray.get(answer)
        except self._ray.exceptions.RayError as died:
            error = EngineError(f"{self.job.engine}: the process that opens it dies ({_reason(died)})")
            yield from self._give_up(worker, error, "")
            return
        if place.error is not None:
            yield from self._give_up(worker, place.error, f" on {place.host}")
            return
        worker.place = place
        yield from self._notes(worker, place)

    def _give_up(self, worker: _Worker, error: SeparationError, where: str) -> Iterator[Event]:
        self._failures.append(error)
        self._dismiss(worker)
        if self._workers:
            yield Note(f"one worker fewer{where}: {error}")

    def _notes(self, worker: _Worker, place: Place) -> Iterator[Event]:
        for note in place.notes[worker.told :]:
            yield Note(f"{place.host}: {note}")
        worker.told = len(place.notes)

    def _polled(self, worker: _Worker, answer: Any) -> Iterator[Event]:
        worker.poll, worker.polled = None, time.monotonic()
        with suppress(self._ray.exceptions.RayError):  # it died: the answer about its song says so
            progress = self._ray.get(answer)
            if worker.task is not None and progress is not None and progress.task.number == worker.task.number:
                yield progress

    def _finished(self, worker: _Worker, answer: Any) -> Iterator[Event]:
        task = worker.task
        if task is None:
            return
        try:
            answered: Result = self._ray.get(answer)
        except self._ray.exceptions.RayActorError as error:
            self._dismiss(worker)
            yield self._died(worker, task, error)
        except self._ray.exceptions.RayError as error:
            worker.task = None
            failure = Failure(f"{shown(task.song.path)}: Ray failed: {_reason(error)}", str(error))
            yield Finished(task, failure, worker.name, task.tries + 1)
        else:
            worker.task = None
            yield from self._notes(worker, answered.place)
            yield Finished(task, answered.result, worker.name, task.tries + 1)

    def _died(self, worker: _Worker, task: Task, error: Exception) -> Event:
        tries = task.tries + 1
        self._lost[task.number] = task
        if tries < TRIES:
            self._again.append(replace(task, tries=tries))
            return Retried(task, tries, f"its worker {worker.name} is gone")
        failure = Failure(f"{shown(task.song.path)}: its worker died {TRIES} times", str(error))
        return Finished(task, failure, worker.name, tries)

    def _stop(self) -> None:
        """End all workers; those at work first end their song without parts of stems, if they can within `GRACE`."""
        busy = [worker for worker in self._workers if worker.task is not None]
        with suppress(Exception):  # Ray may be gone, and its workers with it
            for worker in busy:
                worker.actor.stop.remote()
            if busy:
                self._ray.wait([worker.asked for worker in busy], num_returns=len(busy), timeout=GRACE)
        for worker in list(self._workers):
            self._dismiss(worker)
        for worker in busy:
            if worker.task is not None:
                sweep((self.job.settings.folder / worker.task.song.name).parent)


def ray_executor(address: str, engine: Path, options: dict[str, Any], settings: Settings, most: int | None) -> OnRay:
    """Workers for `engine` with the `options` of `open_separator`, `most` at most (None: as many as there is room).

    `options["threads"]` is the number of CPUs of each (None: 1); what runs on a GPU gets one to itself. Raises
    OptionError.
    """
    device = parse_device(options["device"])
    if device.index:
        raise OptionError(f"--device {device}: Ray chooses the GPU: give --device {device.kind}")
    cpus = options["threads"] or 1
    gpus = int(device.kind in ("cuda", "tensorrt") or engine.suffix == ".plan")
    return OnRay(Job(engine.absolute(), settings, options | {"threads": cpus}), address, most, cpus, gpus)


def _connected(address: str, cpus: int | None) -> Any:
    """The module `ray`, connected. Raises OptionError without Ray, EngineError if `address` does not answer."""
    # Whoever reaches the ports of a Ray without tokens runs code on it. Read when Ray is imported.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # its messages go to standard output: events say the same
    if address == LOCAL:  # not in a file, which Ray would leave
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError as error:
        raise OptionError(f"--ray {address}: Ray is not installed: pip install 'bsmamba2[ray]'") from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    if address == LOCAL:
        options |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECTS}
    try:
        ray.init(address, **options)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError, AuthenticationError, by how far it came
        raise EngineError(
            f"--ray {address}: Ray cannot be reached ({_reason(error)}): check that it runs there, and "
            "that its token is here, in RAY_AUTH_TOKEN or ~/.ray/auth_token"
        ) from error
    return ray


def _reason(error: Exception) -> str:
    return first_line(f"{type(error).__name__}: {error}")
