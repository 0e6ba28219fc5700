"""Songs read by libsndfile."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from runtime.audio.form import Form
from runtime.audio.tags import read_tags
from runtime.audio.truncation import Mp3Length, check_whole
from runtime.errors import AudioError

# libsndfile's account of a header whose sizes and the file's do not agree.
MISMATCH = re.compile(r"^\s*(data|SSND|Data Size|Riff size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
STREAMED = range(0x7FFFF000, 0x80000000)  # sizes that programs declare when they write to a pipe, as is 2^32 - 1
MP3_FRAME = 1152  # samples
MP3_PADDING = 4 * MP3_FRAME  # what an encoder adds at both ends and takes away by its tag, at most, and the tag's frame
UNKNOWN = 1 << 60  # frames: beyond it a length is libsndfile's word for "not known"


class UnreadableError(Exception):
    """This reader cannot read the file; another one may."""


class SndfileSource:
    """A file's samples. Raises AudioError for one that is cut off, UnreadableError for what libsndfile cannot read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        with ExitStack() as stack:
            # By descriptor: a name need not be valid text, and its extension must not decide how the content is read.
            try:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except OSError as error:
                raise AudioError(f"{path}: cannot be read ({error.strerror})") from error
            stack.callback(os.close, descriptor)
            length = check_whole(path, descriptor)
            try:
                self._file = soundfile.SoundFile(descriptor, closefd=False)
            except (soundfile.SoundFileError, OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
                raise UnreadableError(_reason(error)) from error
            stack.callback(self._file.close)
            self._describe(length)
            self._check_sizes()
            self._open = stack.pop_all()

    def _describe(self, mp3: Mp3Length | None) -> None:
        file = self._file
        if not 0 <= file.frames < UNKNOWN:
            raise UnreadableError("it declares no length")
        self.sample_rate = int(file.samplerate)
        self.channels = int(file.channels)
        self.samples: int | None = int(file.frames)
        self.form = Form(file.format, file.subtype)
        self.tags = read_tags(file)
        if file.format == "MP3" and mp3 is not None:
            self._check_mp3(mp3)

    def _check_sizes(self) -> None:
        for name, declared, found in MISMATCH.findall(self._file.extra_info):
            of_audio = name not in ("Riff size", "riff") or self.form.format in ("RF64", "W64")
            streamed = int(declared) in STREAMED or int(declared) == 0xFFFFFFFF
            if of_audio and int(declared) > int(found) and not streamed:
                raise AudioError(
                    f"{self._path}: is cut off: declares {int(declared)} bytes of audio, holds {int(found)}: "
                    "get the whole file"
                )

    def _check_mp3(self, length: Mp3Length) -> None:
        """Without a Xing tag libsndfile guesses the length, and reads no further than it guessed."""
        padding = MP3_PADDING if length.declared else MP3_FRAME
        known = length.declared or length.to_end
        if not known or self._file.frames < length.samples - padding:
            raise UnreadableError(f"sees {self._file.frames / self.sample_rate:.1f} s of it, and there may be more")
        if not length.declared:
            self.samples = None

    def read(self, count: int) -> NDArray[np.floating[Any]]:
        """[n, c]"""
        try:
            out: NDArray[np.floating[Any]] = self._file.read(count, dtype=self.form.dtype, always_2d=True)
        except (soundfile.SoundFileError, OSError, RuntimeError, ValueError, MemoryError) as error:
            raise AudioError(f"{self._path}: is cut off or damaged ({_reason(error)}): get the whole file") from error
        return out

    def close(self) -> None:
        self._open.close()


def _reason(error: BaseException) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return text.removeprefix("Error : ").rstrip(".").strip() or type(error).__name__
