"""The frames of an MPEG audio file as a file that holds nothing else, for libsndfile to read."""

from __future__ import annotations

import io

from runtime.audio.mpeg import Mpeg
from runtime.audio.view import View

SIZE = 1 << 40  # bytes that the file claims to have


class FrameFile(View):
    """The tags of text in `file` and its frames of audio, without what lies between and behind.

    libmpg123 guesses the length of frames from the size of the file, and reads no further. The size claimed here is too
    large for any song: it reads to the last frame, behind which nothing comes until the tag at the very end.
    """

    def __init__(self, file: io.FileIO, mpeg: Mpeg) -> None:
        front, last = mpeg.text
        super().__init__(file, (front, *mpeg.runs))
        self._end = SIZE
        self._pieces.append((SIZE - (last[1] - last[0]), last[0], last[1] - last[0]))
        self._starts.append(self._pieces[-1][0])
