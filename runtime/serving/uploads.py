"""A song on its way in: a multipart form whose file goes to the disk as it comes, within limits."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from runtime.serving.settings import MB, free_room

FIELD = 1 << 12  # bytes of a field that is no file
FIELDS = 16  # parts of a form
ROUND = 1 << 16  # bytes of a form besides its file
GRACE, FLOOR = 10.0, 8 << 10  # a client that sent n bytes has GRACE s and n / FLOOR s in all
LINGER, LINGER_SECONDS, LINGER_PAUSE = 64 * MB, 10.0, 0.5  # what is read of a form that is refused, and how long


@dataclass
class Form:
    """What was sent: `fields` by name, and the song at `path`."""

    path: Path
    fields: dict[str, str] = field(default_factory=dict)
    file_name: str | None = None
    size: int = 0  # bytes of the song


class _Parts:
    """Callbacks of the parser: what they collect is written by `receive`."""

    def __init__(self, form: Form, most: int) -> None:
        self.form, self.most = form, most
        self.data = bytearray()  # of the song, not yet written
        self.ended = False
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._field: str | None = None  # the part being read; None: the song
        self._text = b""

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > FIELDS:
            raise HTTPException(400, f"the form has more than {FIELDS} parts")
        self._headers, self._field, self._text = {}, None, b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "file" and b"filename" in options:
            if self.form.file_name is not None:
                raise HTTPException(400, "the form has two files: send one song at a time")
            self.form.file_name = _unquoted(options[b"filename"].decode("utf-8", "replace"))
        elif name in ("engine", "stems", "format") and name not in self.form.fields:
            self._field = name
        else:
            raise HTTPException(400, "the form has a part that is none of file, engine, stems and format, each once")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is not None:
            self._text += data[start:end]
            if len(self._text) > FIELD:
                raise HTTPException(400, f"the field {self._field} is longer than {FIELD} bytes")
            return
        self.form.size += end - start
        if self.form.size > self.most:
            raise too_large(self.most)
        self.data += data[start:end]

    def on_part_end(self) -> None:
        if self._field is not None:
            self.form.fields[self._field] = self._text.decode("utf-8", "replace").strip()

    def on_end(self) -> None:
        self.ended = True


def _unquoted(name: str) -> str:
    """A file's name with what browsers write otherwise in it: these three, and nothing else."""
    return re.sub("%0[AaDd]|%22", lambda found: chr(int(found[0][1:], 16)), name)


def too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the song has more than the {most / MB:.0f} MB that this server takes")


def check_head(request: Request, most: int, folder: Path) -> bytes:
    """The boundary of a form that may be received. Raises HTTPException by what its head says."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise HTTPException(415, "expected multipart/form-data with a part called file")
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) > most + ROUND:
        raise too_large(most)
    if int(declared or 0) > free_room(folder):
        raise no_room()
    return options[b"boundary"]


def no_room() -> HTTPException:
    return HTTPException(507, "the server's disk has no room for this song: try again later")


async def receive(request: Request, boundary: bytes, path: Path, most: int) -> Form:
    """The form of `request`, its song written to `path`. Raises HTTPException, ClientDisconnect."""
    form = Form(path)
    parts = _Parts(form, most)
    callbacks = {name: getattr(parts, name) for name in dir(parts) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        with path.open("xb") as file:
            async for piece in steady(request):
                parser.write(piece)
                if len(parts.data) >= MB:
                    await _write(file, parts, path.parent)
            parser.finalize()
            await _write(file, parts, path.parent)
    except FormParserError as error:
        raise HTTPException(400, "the form is not well-formed multipart/form-data") from error
    except OSError as error:
        raise no_room() from error
    if not parts.ended:
        raise HTTPException(400, "the form has no end: it was cut off")
    if form.file_name is None:
        raise HTTPException(400, "the form has no part called file")
    if not form.size:
        raise HTTPException(400, "the file is empty: expected a song")
    return form


async def _write(file: BinaryIO, parts: _Parts, folder: Path) -> None:
    data, parts.data = parts.data, bytearray()
    await asyncio.to_thread(file.write, data)
    if free_room(folder) < 0:
        raise no_room()


async def steady(request: Request) -> AsyncIterator[bytes]:
    """The body of `request`, as long as it does not come too slowly. Raises HTTPException, ClientDisconnect."""
    start, got = time.monotonic(), 0
    pieces = request.stream().__aiter__()
    while True:
        left = start + GRACE + got / FLOOR - time.monotonic()
        try:
            piece = await asyncio.wait_for(pieces.__anext__(), max(0.0, left))
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the song comes in at less than {FLOOR >> 10} kB/s: it was given up") from None
        got += len(piece)
        yield piece


async def drop(request: Request) -> None:
    """Read on for a while: a connection closed on a client that sends may take the answer from it."""
    end, got = time.monotonic() + LINGER_SECONDS, 0
    pieces = request.stream().__aiter__()
    with suppress(asyncio.TimeoutError, StopAsyncIteration, ClientDisconnect, RuntimeError):
        while got <= LINGER and time.monotonic() < end:
            got += len(await asyncio.wait_for(pieces.__anext__(), LINGER_PAUSE))
