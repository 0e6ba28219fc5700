"""Songs that come through a pipe: standard input, a named pipe, `<(...)` of a shell."""

from __future__ import annotations

import os
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from runtime.audio.leftovers import own_prefix
from runtime.errors import AudioError, OptionError, SeparationError
from runtime.songs.inputs import STDIN, NamedSong, is_pipe, shown

PIECE = 1 << 20  # bytes
LONGEST_WAIT = 10  # s for a program that writes into a named pipe


def check_standard_input() -> None:
    """Raises OptionError if no song can come from it."""
    if sys.stdin is None:
        raise OptionError(f"{shown(STDIN)} is closed: pipe a song into it, or give a file")
    if sys.stdin.isatty():
        raise OptionError(f"{shown(STDIN)} is a terminal: pipe a song into it, or give a file")


@contextmanager
def as_file(song: NamedSong, folder: Path) -> Iterator[NamedSong]:
    """`song` as a file that can be read several times: what comes through a pipe is copied first, to `folder`.

    However long it is, it takes room on the disk and not in memory; the copy is removed in the end. Errors name the
    song as it was given. Raises AudioError if it cannot be copied.
    """
    if not is_pipe(song.path):
        yield song
        return
    try:
        temporary = tempfile.TemporaryDirectory(prefix=own_prefix(), dir=folder)
    except OSError as error:
        raise AudioError(f"{folder}: cannot be written ({error.strerror})") from error
    with temporary:
        copy = Path(temporary.name) / song.name.name
        try:
            with copy.open("xb") as target:
                _copy(song.path, target)
        except OSError as error:
            raise AudioError(f"{shown(song.path)}: cannot be copied to {folder} ({error.strerror})") from error
        try:
            yield replace(song, path=copy)
        except SeparationError as error:
            raise type(error)(str(error).replace(str(copy), shown(song.path))) from error


def _copy(path: Path, target: IO[bytes]) -> None:
    if path == STDIN:
        with suppress(OSError, ValueError):  # else reading would end where the next piece has not come yet
            os.set_blocking(sys.stdin.fileno(), True)
        shutil.copyfileobj(sys.stdin.buffer, target, PIECE)
        return
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as source:
        target.write(_first_piece(path, source.fileno()))
        os.set_blocking(source.fileno(), True)
        shutil.copyfileobj(source, target, PIECE)


def _first_piece(path: Path, pipe: int) -> bytes:
    """What is there when a writer is; maybe nothing yet. Raises AudioError if no writer comes."""
    end = time.monotonic() + LONGEST_WAIT
    while True:
        ready = select.select([pipe], [], [], 0)[0]  # something to read, or a writer that came and went
        try:
            piece = os.read(pipe, PIECE)
        except BlockingIOError:  # there is a writer
            return b""
        if piece or ready:
            return piece
        if time.monotonic() > end:
            raise AudioError(
                f"{path}: is not a file but a pipe, and no program has opened it for writing for {LONGEST_WAIT} s: "
                "give a file"
            )
        time.sleep(0.05)
