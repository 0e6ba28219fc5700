"""Imported by Python at its start: writes down which files a process opens for writing and which hosts it asks."""

import os
import sys

_target = os.environ.get("WATCHED")
_busy = False


def _hook(event: str, values: tuple) -> None:
    global _busy
    if _busy or event not in ("open", "socket.connect", "socket.getaddrinfo", "os.remove", "os.rename", "os.mkdir"):
        return
    if event == "open" and not (isinstance(values[0], str) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return
    _busy = True
    try:
        with open(_target, "a") as file:  # type: ignore[arg-type]
            print(event, *map(repr, values[:2] if event == "os.rename" else values[:1]), sep="\t", file=file)
    finally:
        _busy = False


if _target:
    sys.addaudithook(_hook)
