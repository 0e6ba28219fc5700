"""The server's process: what it listens at, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime.errors import OptionError
from runtime.serving.app import create_app
from runtime.serving.jobs import Store
from runtime.serving.security import Names, Token, is_loopback
from runtime.serving.service import Service
from runtime.serving.settings import Limits, read_engines

BACKLOG = 256  # connections that wait to be taken
CONNECTIONS = 512  # at a time; more are answered 503
HEAD_SECONDS = 10.0  # in which the head of a request must be there
END_SECONDS = 3  # that answers may take when the server stops


class Protocol(H11Protocol):
    """HTTP/1.1 that does not wait for ever for the head of a request."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _expect_head(self) -> None:
        """A timer runs from the moment that a head is expected; one that runs already goes on."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not busy and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)


class Server(uvicorn.Server):
    """Ends streams of events when a signal ends it, and leaves it at that: the signal is not raised again."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping, self._loop = stopping, asyncio.get_running_loop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._stopping.set)


def run_server(
    engines: list[Path],
    data: Path,
    limits: Limits,
    workers: int,
    options: dict[str, Any],
    ffmpeg: bool,
    host: str,
    port: int,
    names: list[str],
    token: str | None,
) -> int:
    """Serve until a signal ends it. Raises OptionError and what opening an engine raises."""
    if token is None and not is_loopback(host):
        raise OptionError(
            f"--host {host}: others than this machine could reach the server: give --token-file, with a secret of 16 "
            "characters or more"
        )
    found = read_engines(engines)
    with listen(host, port) as listening, closing(Store(data.resolve())) as store:
        service = Service(found, store, limits, workers, options, ffmpeg)
        guarded = create_app(service, Names(host, names), None if token is None else Token(token))
        config = uvicorn.Config(
            guarded,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=END_SECONDS,
        )
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}/"
        return asyncio.run(_serve(config, service, listening, url, token is not None))


async def _serve(
    config: uvicorn.Config, service: Service, listening: socket.socket, url: str, needs_token: bool
) -> int:
    await service.start()
    server = Server(config, service.stopping)
    hint = ": open it as /#token=TOKEN the first time" if needs_token else ""
    print(f"bsm-serve: {', '.join(service.engines)} at {url}{hint} (Ctrl-C ends it)", flush=True)
    try:
        await server.serve(sockets=[listening])
    finally:
        await service.stop()
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OptionError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, as asyncio sends without delay (TCP_NODELAY) only then: else most answers take 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host.strip("[]"), port))
        listening.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"--host {host} --port {port}: cannot listen there ({reason}): choose another") from error
    return listening
