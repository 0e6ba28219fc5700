"""Parts of a file, read as if nothing were between them and some of their bytes were others: how libsndfile gets one of
several streams, or a header whose sizes are true."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

MOST = 1 << 62  # bytes of a file


class View(io.RawIOBase):
    """Some pieces of `file`, from their first byte to the one behind their last, as if nothing were between them.

    Those in `changes` (position in the view -> bytes) replace its bytes. libsndfile reads it from C, where an exception
    would be lost: the first one is kept in `error`, and the view ends.
    """

    def __init__(
        self, file: io.RawIOBase, pieces: Iterable[tuple[int, int]], changes: Mapping[int, bytes] | None = None
    ) -> None:
        self.error: OSError | None = None
        self._file = file
        self._pieces: list[tuple[int, int, int]] = []  # position in the view, position in the file, bytes
        self._end = 0
        for first, behind in pieces:
            self._pieces.append((self._end, first, behind - first))
            self._end += behind - first
        self._starts = [piece[0] for piece in self._pieces]
        self._changes = dict(changes or {})
        self._position = 0

    @property
    def rest(self) -> int:
        """Bytes that were not read yet."""
        return self._end - self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        begin, done = self._position, 0
        while done < len(view) and self._position < self._end:
            here, there, size = self._pieces[bisect_right(self._starts, self._position) - 1]
            inside = self._position - here
            try:
                self._file.seek(there + inside)
                count = self._file.readinto(view[done : done + max(0, size - inside)])
            except OSError as error:
                self.error = error
                break
            if not count:
                break
            self._position += count
            done += count
        for at, changed in self._changes.items():
            first, last = max(at, begin), min(at + len(changed), begin + done)
            if first < last:
                view[first - begin : last - begin] = changed[first - at : last - at]
        return done


class Window:
    """Bytes of a long file by position, read forward in large pieces."""

    SIZE = 1 << 20

    def __init__(self, file: io.RawIOBase) -> None:
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
