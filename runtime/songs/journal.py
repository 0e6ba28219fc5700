"""What was done, one line of JSON per song: `bsm-run --manifest`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.engine.manifest import Manifest
from runtime.engine.reading import engine_sha256
from runtime.errors import OptionError
from runtime.songs.batch import Settings
from runtime.songs.inputs import recorded


class Journal:
    """A file that gets one line per song as soon as the song is done; a context manager.

    Lines are appended to those the file has, each in one write. `common` is what they all say. Raises OptionError if
    the file cannot be written.
    """

    def __init__(self, path: Path, common: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.common = dict(common or {})
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(path, flags, 0o666)
            first, last = _ends(path) if os.fstat(self._file).st_size else (b"", b"")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise self._cannot(error) from error
        if first not in (b"", b"{"):
            os.close(self._file)
            raise OptionError(f"--manifest {path}: exists and is not a file of JSON lines: choose another name")
        self._before = b"" if last in (b"", b"\n") else b"\n"  # an earlier run did not finish its line

    def add(self, **fields: Any) -> None:
        """One line: `time` (now, in UTC, as in ISO 8601), `common` and `fields`, with paths as text."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        line = json.dumps({"time": now, **self.common, **fields}, default=str)
        data = self._before + line.encode() + b"\n"
        try:
            written = os.write(self._file, data)
            if written < len(data):  # the disk is full: the next write says so
                os.write(self._file, data[written:])
        except OSError as error:
            raise self._cannot(error) from error
        self._before = b""

    def add_failed(self, song: Path, error: str, **fields: Any) -> None:
        self.add(song=recorded(song), status="failed", error=error, **fields)

    def _cannot(self, error: OSError | ValueError) -> OptionError:
        reason = getattr(error, "strerror", None) or error
        return OptionError(f"--manifest {self.path}: cannot be written ({reason})")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def _ends(path: Path) -> tuple[bytes, bytes]:
    """The first and the last byte."""
    with path.open("rb") as file:
        first = file.read(1)
        file.seek(-1, os.SEEK_END)
        return first, file.read(1)


def common_fields(engine: Path, manifest: Manifest, settings: Settings) -> dict[str, Any]:
    """What the journal of a run says on each line: with what its songs were separated."""
    sha256 = engine_sha256(engine, manifest)
    return {"engine": engine.name, "engine_sha256": sha256, "format": settings.format}
