"""Songs read by libsndfile."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from runtime.audio.channel_mask import mask_of_file
from runtime.audio.form import Form
from runtime.audio.inspection import Part, UnreadableError
from runtime.audio.mpeg_file import FrameFile
from runtime.audio.speakers import mask_for
from runtime.audio.tags import read_tags
from runtime.audio.view import View
from runtime.errors import AudioError

Samples = NDArray[np.floating[Any]]

UNKNOWN = 1 << 60  # frames: beyond it a length is libsndfile's word for "not known"
NEAR_END = 1 << 17  # bytes of a file that may be read ahead of what is decoded, and of one frame
FAILURES = (soundfile.SoundFileError, OSError, RuntimeError, ValueError, TypeError, MemoryError)


class Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its beginning to its end, of whatever length."""

    def seekable(self) -> bool:
        """No: else `read` looks up the length, which may be unknown, and seeks behind every block."""
        return False


class SndfileSource:
    """The samples of a file, or of one part of it.

    Raises AudioError for a file that lacks its end, UnreadableError for what libsndfile cannot read.
    """

    def __init__(self, path: Path, part: Part, notes: Sequence[str] = ()) -> None:
        """`part` of the file, as found by `inspect`, with its notes."""
        self._path, self._part = path, part
        self.notes = list(notes)
        with ExitStack() as stack:
            # By descriptor: a name need not be valid text, and its extension must not decide how the content is read.
            try:
                raw = stack.enter_context(path.open("rb", buffering=0))
            except OSError as error:
                raise AudioError(f"{path}: cannot be read ({error.strerror})") from error
            self._view = _view(raw, part)
            try:
                self._file = Forward(raw.fileno() if self._view is None else self._view, closefd=False)
            except FAILURES as error:
                raise UnreadableError(_reason(error)) from error
            stack.callback(self._file.close)
            self._done = 0  # samples
            self._ended = False
            self._flac = self._file.format == "FLAC"
            self._describe(part)
            self._open = stack.pop_all()

    def _describe(self, part: Part) -> None:
        file = self._file
        self.sample_rate = int(file.samplerate)
        self.channels = int(file.channels)
        known = 0 <= file.frames < UNKNOWN
        self.samples: int | None = int(file.frames) if known else part.samples
        self.form = Form(file.format, file.subtype)
        self.tags = {**part.tags, **read_tags(file)}
        self.channel_mask = mask_for(self.channels, part.channel_mask or mask_of_file(file))
        if not known and file.format != "FLAC":
            raise UnreadableError("it declares no length")
        self._skip = 0  # samples that come before the first of the song
        if part.mpeg is not None:
            self.samples, self._skip = part.mpeg.samples, part.mpeg.skip
        elif file.format == "MP3":
            raise UnreadableError("its frames cannot be followed from its start")

    def read(self, count: int) -> Samples:
        """[n, c]"""
        declared = self._part.samples
        if declared is not None and self._done < declared:
            count = min(count, declared - self._done)  # what follows may be no sound, and would spoil the block
        if self._part.mpeg is not None:
            count = min(count, self._part.mpeg.samples - self._done)  # silence that the encoder has added follows
        block: Samples = np.full((0 if self._ended else count, self.channels), np.nan, self.form.dtype)
        try:
            if self._skip:
                self._file.read(self._skip)
                self._skip = 0
            block = self._file.read(out=block) if len(block) else block
            if self._view is not None and self._view.error is not None:
                raise self._view.error
        except FAILURES as error:
            block = self._before_failure(block, error)
        self._done += len(block)
        if not len(block):
            self._check_end()
        return block if self._part.order is None else block[:, self._part.order]

    def _before_failure(self, block: Samples, error: BaseException) -> Samples:
        """What libsndfile had decoded when it failed, if that may be the end of the sound. Raises AudioError."""
        declared = self._part.samples
        if declared is not None and self._done >= declared:
            self._ended = True
            seconds = self._done / self.sample_rate
            self.notes.append(f"what follows the end that its header declares, after {seconds:.2f} s, is left out")
            return block[:0]
        if self._flac and declared is None and self._view is not None and self._view.rest < NEAR_END:
            self._ended = True
            block = block[: np.count_nonzero(~np.isnan(block[:, 0]))]  # rows that were not reached are still NaN
            seconds = (self._done + len(block)) / self.sample_rate
            self.notes.append(
                f"decoding stopped after {seconds:.2f} s ({_reason(error)}): the last frame is damaged or incomplete, "
                "or what follows is no sound"
            )
            return block
        raise AudioError(
            f"{self._path}: the file is incomplete or damaged ({_reason(error)}): get the complete file"
        ) from error

    def _check_end(self) -> None:
        promised = self._part.samples or (self.samples if self._part.promised else None)
        if promised is not None and self._done < promised:
            declared, missing = promised / self.sample_rate, (promised - self._done) / self.sample_rate
            raise AudioError(
                f"{self._path}: the file is incomplete or damaged: {missing:.2g} s of the {declared:.1f} s that it "
                "declares cannot be read: get the complete file"
            )
        if self._part.samples is not None and self._done > self._part.samples:
            self.notes.append(
                f"its header declares {self._part.samples} samples, {self._done} follow: all of them were read"
            )

    def close(self) -> None:
        self._open.close()


def _view(file: io.FileIO, part: Part) -> View | None:
    """What libsndfile is to read instead of the whole `file`."""
    if part.mpeg is not None:
        return FrameFile(file, part.mpeg)
    whole = part.pieces == [(0, os.fstat(file.fileno()).st_size)] and not part.changes
    return None if whole else View(file, part.pieces, part.changes)


def _reason(error: BaseException) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return text.removeprefix("Error : ").rstrip(".").strip() or type(error).__name__
