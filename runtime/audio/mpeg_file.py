"""The frames of an MPEG audio file as a file that holds nothing else, for libsndfile to read."""

from __future__ import annotations

import io
from bisect import bisect_right
from typing import Any

from runtime.audio.mpeg import Mpeg
from runtime.audio.view import View

SIZE = 1 << 40  # bytes that the file claims to have


class FrameFile(View):
    """The tags of text in `file` and its frames of audio, without what lies between and behind.

    libmpg123 guesses the length of frames from the size of the file, and reads no further. The size claimed here is too
    large for any song: it reads to the last frame, behind which nothing comes until the tag at the very end.
    """

    def __init__(self, file: io.FileIO, mpeg: Mpeg) -> None:
        super().__init__(file, 0, SIZE)
        front, last = mpeg.text
        here = 0
        self._pieces: list[tuple[int, int, int]] = []  # position here, position in the file, bytes
        for first, behind in (front, *mpeg.runs):
            self._pieces.append((here, first, behind - first))
            here += behind - first
        self._pieces.append((SIZE - (last[1] - last[0]), last[0], last[1] - last[0]))
        self._starts = [piece[0] for piece in self._pieces]

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
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
        return done
