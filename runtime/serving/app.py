"""The routes: what clients ask for, and in which form they get it."""

from __future__ import annotations

import json
import shutil
import time
from datetime import datetime, timezone
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.audio import FORMATS
from runtime.errors import OptionError, SeparationError
from runtime.serving import metrics, previews
from runtime.serving.downloads import archive_answer, file_answer
from runtime.serving.jobs import DONE, WAITING, Job, new_id
from runtime.serving.names import base_name, song_name, stem_name
from runtime.serving.openapi import document
from runtime.serving.pages import INDEX, read_page
from runtime.serving.security import COOKIE, Guard, Names, Token, answer
from runtime.serving.service import Service
from runtime.serving.settings import Engine, free_room, room_for
from runtime.serving.uploads import Form, check_head, drop, no_room, receive
from runtime.serving.work import Order, TooLongError

LOGIN_BYTES = 4096


class Api:
    """The handlers of the routes below /api."""

    def __init__(self, service: Service, token: Token | None) -> None:
        self.service, self.token = service, token

    def routes(self) -> list[Route]:
        return [
            Route("/api/engines", self.engines),
            Route("/api/login", self.login, methods=["POST"]),
            Route("/api/openapi.json", self.openapi),
            Route("/api/jobs", self.jobs, methods=["GET"]),
            Route("/api/jobs", self.send, methods=["POST"]),
            Route("/api/jobs/{id}", self.job, methods=["GET"]),
            Route("/api/jobs/{id}", self.remove, methods=["DELETE"]),
            Route("/api/jobs/{id}/events", self.events),
            Route("/api/jobs/{id}/stems.zip", self.archive),
            Route("/api/jobs/{id}/stems/{name}", self.stem),
            Route("/api/jobs/{id}/previews/{name}", self.preview),
        ]

    async def engines(self, request: Request) -> Response:
        limits = self.service.limits
        told = {
            "seconds": limits.seconds,
            "upload_bytes": limits.upload_bytes,
            "queue": limits.queue,
            "keep_hours": limits.keep / 3600,
            "formats": [name.lower() for name in FORMATS],
        }
        engines = [engine.fields() for engine in self.service.engines.values()]
        return JSONResponse({"engines": engines, "limits": told})

    async def login(self, request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LOGIN_BYTES:
                return answer(413, "more than a token was sent")
        try:
            given = json.loads(body)["token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return answer(400, 'expected {"token": "..."}')
        if self.token is None:
            return Response(status_code=204)
        if not isinstance(given, str) or not self.token.is_right(given):
            return answer(401, "the token is wrong")
        response = Response(status_code=204)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, self.token.cookie, httponly=True, samesite="strict", secure=secure)
        return response

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(document())

    async def jobs(self, request: Request) -> Response:
        return JSONResponse({"jobs": [self.fields(job) for job in reversed(self.service.store.jobs.values())]})

    async def job(self, request: Request) -> Response:
        return JSONResponse(self.fields(self._job(request)))

    async def remove(self, request: Request) -> Response:
        await self.service.cancel(self._job(request))
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        stream = self.service.changes.stream(self._job(request), self.fields, self.service.stopping)
        headers = {"x-accel-buffering": "no"}  # for a proxy
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def stem(self, request: Request) -> Response:
        job, name = self._job(request), request.path_params["name"]
        file = job.file_of(name)
        if file is None:
            raise HTTPException(404, "this job has no such stem")
        path = self.service.store.path(job) / "stems" / file["file"]
        saved = stem_name(job.name, name, path.suffix)
        return self._file(request, path, file["type"], saved)

    async def preview(self, request: Request) -> Response:
        job, name = self._job(request), request.path_params["name"]
        if job.state != DONE or not (name == "song" or job.file_of(name)):
            raise HTTPException(404, "this job has no such preview")
        path = self.service.store.path(job) / "previews" / f"{name}{previews.SUFFIX}"
        return self._file(request, path, previews.TYPE, stem_name(job.name, name, previews.SUFFIX))

    async def archive(self, request: Request) -> Response:
        job = self._job(request)
        if job.state != DONE:
            raise HTTPException(404, "this job has no stems")
        folder = self.service.store.path(job) / "stems"
        paths = [folder / each["file"] for each in job.files]
        files = {
            stem_name(job.name, each["name"], path.suffix): path for each, path in zip(job.files, paths, strict=True)
        }
        return archive_answer(files, f"{base_name(job.name)}.zip")

    async def send(self, request: Request) -> Response:
        """A song: checked by what is declared of it, then queued."""
        service = self.service
        try:
            if service.stopping.is_set():
                raise HTTPException(503, "the server is stopping")
            if service.is_full():
                wait = {"retry-after": str(service.retry_after())}
                raise HTTPException(429, f"the queue is full ({service.limits.queue} songs): try again later", wait)
            boundary = check_head(request, service.limits.upload_bytes, service.store.folder)
            service.receiving += 1
            try:
                job = await self._received(request, boundary)
            finally:
                service.receiving -= 1
        except HTTPException as error:
            if error.status_code != 408:
                await drop(request)
            raise
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        return JSONResponse(self.fields(job), 202, {"location": f"/api/jobs/{job.id}"})

    async def _received(self, request: Request, boundary: bytes) -> Job:
        service = self.service
        name = new_id()
        folder = service.store.incoming(name)
        try:
            form = await receive(request, boundary, folder / "song", service.limits.upload_bytes)
            service.counts.upload_bytes += form.size
            engine, stems, format = self._wishes(form)  # noqa: A001
            job = Job(name, song_name(form.file_name or ""), engine.name, stems, format, time.time())
            order = Order(form.path, job.name, format, service.limits.seconds, tuple(stems))
            try:
                seen = await service.look(order)
            except SeparationError as error:
                status = 413 if isinstance(error, TooLongError) else 422 if isinstance(error, OptionError) else 415
                raise HTTPException(status, str(error)) from error
            samples = seen.samples or int(service.limits.seconds * seen.sample_rate)
            job.seconds = None if seen.samples is None else seen.samples / seen.sample_rate
            job.room = room_for(samples, seen.channels, len(stems))
            if service.promised_room() + job.room > free_room(service.store.folder):
                raise no_room()
            await service.accept(job, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return job

    def _wishes(self, form: Form) -> tuple[Engine, list[str], str | None]:
        engines = self.service.engines
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

    def _job(self, request: Request) -> Job:
        job = self.service.store.jobs.get(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "there is no such job: it was removed, or has expired")
        return job

    def _file(self, request: Request, path: Any, kind: str, name: str) -> Response:
        if not path.exists():  # it is being removed
            raise HTTPException(404, "there is no such job: it was removed, or has expired")
        return file_answer(path, kind, name, request.query_params.get("download") == "1")

    def fields(self, job: Job) -> dict[str, Any]:
        """A job as clients see it."""
        url = f"/api/jobs/{job.id}"
        left = job.seconds_left
        stems = [
            {
                "name": each["name"],
                "url": f"{url}/stems/{each['name']}",
                "preview": f"{url}/previews/{each['name']}",
                "type": each["type"],
                "bytes": each["bytes"],
            }
            for each in job.files
        ]
        expires = None if job.finished is None else job.finished + self.service.limits.keep
        return {
            "id": job.id,
            "name": job.name,
            "engine": job.engine,
            "state": job.state,
            "place": self.service.place(job) if job.state == WAITING else None,
            "progress": round(job.progress, 4),
            "seconds_left": None if left is None else round(left, 1),
            "seconds": None if job.seconds is None else round(job.seconds, 3),
            "created": iso(job.created),
            "expires": None if expires is None else iso(expires),
            "error": job.error,
            "stems": stems,
            "song": {"preview": f"{url}/previews/song"} if job.state == DONE else None,
            "tries": job.tries,
        }


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds")


def create_app(service: Service, names: Names, token: Token | None) -> Guard:
    """The application that asks `service`, which runs already."""
    page = read_page()

    async def index(request: Request) -> Response:
        return page.get(INDEX) or answer(404, "this installation has no page")

    async def page_file(request: Request) -> Response:
        return page.get(request.path_params["name"]) or answer(404, "there is no such file")

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def numbers(request: Request) -> Response:
        text = service.counts.text(service.store, service.workers, len(service.changes))
        return PlainTextResponse(text, media_type=metrics.TYPE)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        return answer(error.status_code, error.detail, dict(error.headers or {}))

    async def failed(request: Request, error: Exception) -> Response:
        return answer(500, "an internal error, which the server's log describes")

    routes = [
        Route("/", index),
        Route("/page/{name}", page_file),
        Route("/health", health),
        Route("/metrics", numbers),
        *Api(service, token).routes(),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: refused, Exception: failed},
    )
    app.router.redirect_slashes = False
    return Guard(app, names, token, service.counts)
