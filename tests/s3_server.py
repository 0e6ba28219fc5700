"""A real S3 server in this process, which fails when a test says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

REFUSED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
Fault = Callable[
    [dict[str, Any]], str | None
]  # a request as WSGI gives it: the status of an answer that fails, or none


class S3:
    """`requests` are those that came so far, such as ("GET", "/bucket/a.wav"); `fault` decides which fail."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault = lambda request: None


@contextmanager
def s3_server() -> Iterator[S3]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)

    def failing(request: dict[str, Any], respond: Any) -> Any:
        server.requests.append((request["REQUEST_METHOD"], request["PATH_INFO"]))
        status = server.fault(request)
        if status is None:
            return application(request, respond)
        request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        respond(status, [("Content-Type", "application/xml")])
        return [REFUSED if status.startswith("403") and request["REQUEST_METHOD"] != "HEAD" else b""]

    listening = make_server("127.0.0.1", 0, failing, threaded=True)
    server = S3(f"http://127.0.0.1:{listening.port}")
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
