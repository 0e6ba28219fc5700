"""`open_song`: a song of any length, read in blocks as it is or refused in one line."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.audio.chain import ChainSource
from runtime.audio.ffmpeg import FfmpegSource, ffmpeg_allowed, ffmpeg_installed
from runtime.audio.form import Form
from runtime.audio.inspection import UnreadableError, inspect
from runtime.audio.sndfile import SndfileSource
from runtime.audio.tags import Tags
from runtime.errors import AudioError

Samples = NDArray[np.floating[Any]]

MIN_RATE, MAX_RATE = 1000, 768_000  # Hz
MAX_LEVEL = 1e9  # of a sample, full scale 1.0: far above any song, far below what overflows a spectrum
BLOCK = 1 << 16  # samples read at a time
BLOCK_VALUES = 1 << 20  # samples times channels read at a time, at most: a file may declare 1024 channels


class Source(Protocol):
    """What reads a file's samples."""

    sample_rate: int  # Hz
    channels: int  # in the order of WAV
    channel_mask: int  # as in `speakers`; 0: not known
    samples: int | None  # as the file declares; None where it does not
    form: Form
    tags: Tags
    notes: list[str]  # what was done about a file that is not quite as it should be; complete at the end

    def read(self, count: int) -> Samples:
        """The next samples, [n, c] with n <= count; n is 0 at the end only. Raises AudioError."""
        ...

    def close(self) -> None: ...


class SongReader:
    """An open song; a context manager. Read its samples once, by `blocks`."""

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self.sample_rate = source.sample_rate  # Hz
        self.channels = source.channels
        self.channel_mask = source.channel_mask  # which speakers they are for, as in `speakers`; 0: not known
        self.samples = source.samples  # as declared; None where unknown: what `blocks` gives decides
        self.form = source.form
        self.tags = source.tags
        self.notes = source.notes  # for the user, complete once `blocks` has ended
        self._source = source

    def blocks(self, size: int = BLOCK) -> Iterator[Samples]:
        """The samples from first to last, [c, n] with n <= `size`, full scale 1.0.

        float32, which holds 24 bits exactly; float64 where the song has more (`form.dtype`: PCM_32 and DOUBLE).
        Raises AudioError for a song that holds no samples, NaN, Inf or samples beyond `MAX_LEVEL`, or that ends before
        the length it declares.
        """
        size = max(1, min(size, BLOCK_VALUES // self.channels))
        done = 0
        while len(block := self._source.read(size)):
            self._check_level(block, done)
            done += len(block)
            yield np.ascontiguousarray(block.T)
        if not done:
            raise AudioError(f"{self.path}: holds no samples")

    def _check_level(self, block: Samples, done: int) -> None:
        if not np.abs(block).max() <= MAX_LEVEL:
            first = int(np.argmax(~(np.abs(block).max(axis=1) <= MAX_LEVEL)))
            raise AudioError(
                f"{self.path}: holds NaN, Inf or samples beyond {MAX_LEVEL:.0e} "
                f"at {(done + first) / self.sample_rate:.3f} s: repair the file first"
            )

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> SongReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_song(path: Path) -> SongReader:
    """Open a song: by libsndfile where it can, else by ffmpeg where that is installed.

    What the file holds decides, not its name. Raises AudioError for what is no file, no audio, visibly cut off, or has
    a sample rate outside `MIN_RATE` to `MAX_RATE`.
    """
    source = _source(path)
    if not MIN_RATE <= source.sample_rate <= MAX_RATE:
        source.close()
        raise AudioError(f"{path}: has a sample rate of {source.sample_rate} Hz: expected {MIN_RATE} to {MAX_RATE}")
    return SongReader(path, source)


def _source(path: Path) -> Source:
    _check_file(path)
    try:
        inspection = inspect(path)
        if len(inspection.parts) > 1:
            return ChainSource(path, inspection)
        return SndfileSource(path, inspection.parts[0], inspection.notes)
    except UnreadableError as error:
        reason = str(error)
    if not ffmpeg_allowed():
        raise AudioError(f"{path}: cannot be read as audio ({reason}): convert it to WAV or FLAC")
    if not ffmpeg_installed():
        raise AudioError(
            f"{path}: cannot be read as audio ({reason}): convert it to WAV, or install ffmpeg, which may read it"
        )
    try:
        return FfmpegSource(path, reason)
    except UnreadableError as error:
        raise AudioError(f"{path}: cannot be read as audio (libsndfile: {reason}; ffmpeg: {error})") from error


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise AudioError(f"{path}: does not exist: expected a song") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise AudioError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(found.st_mode):
        raise AudioError(f"{path}: is {'a folder' if stat.S_ISDIR(found.st_mode) else 'not a file'}: expected a song")
    if not found.st_size:
        raise AudioError(f"{path}: is empty (0 bytes): expected a song")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: cannot be read (Permission denied)")
