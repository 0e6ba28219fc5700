"""Requests byte by byte, as no client would send them."""

from __future__ import annotations

import socket

from serving_process import Served

BOUND = "xYzZy"


def raw(served: Served, data: bytes, wait: float = 5.0) -> int:
    """The status code of the answer to `data` as it is; 0 if the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", served.http.base_url.port), timeout=wait) as to:
        try:
            to.sendall(data)
            got = to.recv(1 << 16)
        except ConnectionError:
            return 0
    return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else 0


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    head = {"Host": "127.0.0.1"} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def form(*parts: tuple[str, bytes], end: bytes = b"--") -> bytes:
    body = b""
    for disposition, content in parts:
        body += f"--{BOUND}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUND}".encode() + end + b"\r\n"
