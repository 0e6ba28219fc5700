"""From a request to a job: a song is received, looked at and queued, or refused with a status that says why."""

from __future__ import annotations

import shutil
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request

from runtime.audio import FORMATS
from runtime.errors import OptionError, SeparationError
from runtime.serving.jobs import Job, new_id
from runtime.serving.names import song_name
from runtime.serving.service import Service
from runtime.serving.settings import Engine, free_room, room_for
from runtime.serving.uploads import Form, check_head, drop, no_room, receive
from runtime.serving.work import Order, Seen, TooLongError


async def take(service: Service, request: Request) -> Job:
    """The job of a song that is sent. Raises HTTPException, ClientDisconnect."""
    try:
        if service.stopping.is_set():
            raise HTTPException(503, "the server is stopping")
        if service.is_full():
            wait = {"retry-after": str(service.retry_after())}
            raise HTTPException(429, f"the queue is full ({service.limits.queue} songs): try again later", wait)
        boundary = check_head(request, service.limits.upload_bytes, service.store.folder)
        service.receiving += 1
        try:
            return await _received(service, request, boundary)
        finally:
            service.receiving -= 1
    except HTTPException as error:
        if error.status_code != 408:
            await drop(request)
        raise


async def _received(service: Service, request: Request, boundary: bytes) -> Job:
    name = new_id()
    try:
        folder = service.store.incoming(name)
    except OSError as error:
        raise no_room() from error
    try:
        form = await receive(request, boundary, folder / "song", service.limits.upload_bytes)
        service.counts.upload_bytes += form.size
        engine, stems, format = _wishes(service, form)  # noqa: A001
        job = Job(name, song_name(form.file_name or ""), engine.name, stems, format, time.time())
        seen = await _look(service, Order(form.path, job.name, format, service.limits.seconds, tuple(stems)))
        samples = seen.samples or int(service.limits.seconds * seen.sample_rate)
        job.seconds = None if seen.samples is None else seen.samples / seen.sample_rate
        job.room = room_for(samples, seen.channels, len(stems))
        if service.promised_room() + job.room > free_room(service.store.folder):
            raise no_room()
        await service.accept(job, folder)
    except OSError as error:
        raise no_room() from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return job


async def _look(service: Service, order: Order) -> Seen:
    try:
        return await service.crew.look(order)
    except TooLongError as error:
        raise HTTPException(413, str(error)) from error
    except OptionError as error:  # the format cannot hold this song
        raise HTTPException(422, str(error)) from error
    except SeparationError as error:
        raise HTTPException(415, str(error)) from error


def _wishes(service: Service, form: Form) -> tuple[Engine, list[str], str | None]:
    """The engine, stems and format that are asked for."""
    engines = service.engines
    name = form.fields.get("engine") or (next(iter(engines)) if len(engines) == 1 else "")
    if name not in engines:
        raise HTTPException(422, f"engine: expected one of {', '.join(engines)}")
    engine = engines[name]
    wanted = [stem.strip().lower() for stem in form.fields.get("stems", "").split(",") if stem.strip()]
    stems = list(dict.fromkeys(wanted)) or engine.stems
    if not set(stems) <= set(engine.stems):
        raise HTTPException(422, f"stems: the engine {name} gives {', '.join(engine.stems)}")
    format = form.fields.get("format", "").lower() or None  # noqa: A001
    if format is not None and format.upper() not in FORMATS:
        raise HTTPException(422, f"format: expected one of {', '.join(FORMATS).lower()}")
    return engine, stems, format
