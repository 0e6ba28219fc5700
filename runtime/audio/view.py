"""Part of a file, read as if some of its bytes were others: how libsndfile gets one of several streams, or a header
whose sizes are true."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

MOST = 1 << 62  # bytes of a file


class View(io.RawIOBase):
    """The bytes from `start` to `end` of `file`, with those in `changes` (position in the file -> bytes) replaced.

    libsndfile reads it from C, where an exception would be lost: the first one is kept in `error`, and the view ends.
    """

    def __init__(self, file: io.FileIO, start: int, end: int, changes: Mapping[int, bytes] | None = None) -> None:
        self.error: OSError | None = None
        self._file, self._start, self._end = file, start, end
        self._changes = dict(changes or {})
        self._position = start

    @property
    def rest(self) -> int:
        """Bytes that were not read yet."""
        return self._end - self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: self._start, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = max(self._start, origin + offset)
        return self.tell()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._end - self._position))
        try:
            self._file.seek(self._position)
            data = bytearray(self._file.read(count))
        except OSError as error:
            self.error = error
            return 0
        for at, changed in self._changes.items():
            first, last = max(at, self._position), min(at + len(changed), self._position + len(data))
            if first < last:
                data[first - self._position : last - self._position] = changed[first - at : last - at]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


class Window:
    """Bytes of a long file by position, read forward in large pieces."""

    SIZE = 1 << 20

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._start, self._bytes = 0, b""

    def at(self, position: int, count: int) -> bytes:
        """`count` bytes, fewer at the end of the file; none at a position that no file has."""
        if not 0 <= position < MOST:
            return b""
        if not self._start <= position <= self._start + len(self._bytes) - count:
            self._file.seek(position)
            self._start, self._bytes = position, self._file.read(max(count, self.SIZE))
        first = position - self._start
        return self._bytes[first : first + count]
