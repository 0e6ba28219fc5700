"""A web server on this machine that misbehaves as asked, and entries of the catalogue that point to it."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bsmamba2.catalogue import Entry

CONTENT = bytes(range(256)) * 1200  # 300 kB
HALF = len(CONTENT) // 2


class Server:
    """Answers /NAME as the function `ways[NAME]`, and keeps what was asked for, as (path, Range)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Range")))
                WAYS[self.path.split("/")[1]](self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def entry(self, *ways: str, **changes: object) -> Entry:
        return Entry(**{**entry_fields(), "addresses": tuple(f"{self.address}/{way}/x" for way in ways), **changes})


def entry_fields() -> dict[str, object]:
    return {
        "name": "some-model",
        "kind": "bs_roformer",
        "stems": ("vocals",),
        "note": "",
        "refused": None,
        "licence": "CC-BY-NC-SA-4.0",
        "bytes": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "addresses": (),
    }


def send(to: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: object) -> None:
    to.send_response(status)
    for name, value in {"Content_Length": len(body), **headers}.items():
        if value is not None:
            to.send_header(name.replace("_", "-"), str(value))
    to.end_headers()
    to.wfile.write(body)


def start_of(to: BaseHTTPRequestHandler) -> int:
    found = re.fullmatch(r"bytes=(\d+)-", to.headers.get("Range", ""))
    return int(found[1]) if found else 0


def good(to: BaseHTTPRequestHandler, content: bytes = CONTENT) -> None:
    start, size = start_of(to), len(content)
    if start:
        send(to, content[start:], 206, Content_Range=f"bytes {start}-{size - 1}/{size}")
    else:
        send(to, content)


def cut(to: BaseHTTPRequestHandler) -> None:
    """The first half, then nothing; resumes."""
    if start_of(to):
        good(to)
    else:
        send(to, CONTENT[:HALF], Content_Length=len(CONTENT))


def slow(to: BaseHTTPRequestHandler) -> None:
    send(to, CONTENT[:10], Content_Length=len(CONTENT))
    to.wfile.flush()
    time.sleep(0.6)


def lazy(to: BaseHTTPRequestHandler) -> None:
    time.sleep(0.5)  # as long as another process needs to come
    good(to)


WAYS: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "good": good,
    "cut": cut,
    "slow": slow,
    "lazy": lazy,
    "drops": lambda to: send(to, CONTENT[:HALF], Content_Length=len(CONTENT)),  # whatever the Range
    "ends": lambda to: send(to, CONTENT[:HALF], Content_Length=None),
    "nothing": lambda to: None,
    "no-range": lambda to: send(to, CONTENT),
    "not-satisfiable": lambda to: send(to, b"", 416) if start_of(to) else good(to),
    "other-part": lambda to: send(to, CONTENT[5:], 206, Content_Range="bytes 5-9/10") if start_of(to) else good(to),
    "wrong": lambda to: good(to, bytes(len(CONTENT))),
    "page": lambda to: send(to, b"<html>Sign in</html>"),
    "larger": lambda to: send(to, CONTENT + b"more", Content_Length=None),
    "away": lambda to: send(to, b"", 302, Location="/good/x"),
    "circle": lambda to: send(to, b"", 302, Location="/circle/x"),
    "absent": lambda to: send(to, b"gone", 404),
    "forbidden": lambda to: send(to, b"", 403),
    "broken": lambda to: send(to, b"", 500),
}
