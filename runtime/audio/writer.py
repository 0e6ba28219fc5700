"""Stems out: encoded block by block, under their final names only when all stems of the song are whole."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from runtime.audio.channel_mask import container_for, has_field, make_room, write_mask
from runtime.audio.form import Form
from runtime.audio.part import Part, cannot_write, put_in_place
from runtime.audio.speakers import VORBIS_ORDER
from runtime.audio.tags import Tags, write_tags
from runtime.errors import AudioError, OptionError

Samples = NDArray[np.floating[Any]]

CLIP = ("rescale", "clamp", "none")
WAV_BYTES = (1 << 32) - (1 << 16)  # of samples in a WAV file, whose sizes have 32 bits; beyond it RF64 is written
SLICE = 1 << 14  # samples encoded at a time: libsndfile's Vorbis encoder overflows its stack on large ones

# What the encoders take: sample rates in Hz (None: all of the reader's), most channels.
LIMITS: dict[str, tuple[tuple[int, ...] | None, int]] = {
    "FLAC": (None, 8),
    "VORBIS": (None, 255),
    "OPUS": ((8000, 12000, 16000, 24000, 48000), 255),
    "MPEG_LAYER_III": ((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 2),
}
MOST_RATE = {"FLAC": 655_350, "VORBIS": 200_000}  # Hz


def check_form(form: Form, sample_rate: int, channels: int) -> None:
    """Raises OptionError if files of `form` hold no such sound."""
    key = form.format if form.format in LIMITS else form.subtype
    rates, most = LIMITS.get(key, (None, 1024))
    name = form.suffix.removeprefix(".").upper()
    advice = "choose another with --format wav or flac" if key != "FLAC" else "choose another with --format wav"
    if rates is not None and sample_rate not in rates:
        listed = ", ".join(map(str, rates))
        raise OptionError(f"{name} files cannot have {sample_rate} Hz, only {listed}: {advice}")
    if sample_rate > MOST_RATE.get(key, sample_rate):
        raise OptionError(f"{name} files have at most {MOST_RATE[key]} Hz, not {sample_rate}: {advice}")
    if channels > most:
        raise OptionError(f"{name} files have at most {most} channels, not {channels}: {advice}")


class SongWriter:
    """One sound file, block by block; a context manager that puts it in place at the end or leaves no trace.

    `peak` is the largest level written so far, `clipped` how many samples beyond full scale were cut to it: all of them
    with `clamp`, else those only that `form` cannot hold (integers and lossy codecs; float keeps the overshoot).
    Integer samples are rounded to the nearest, without dither. Channels are given in the order of WAV. Raises
    AudioError, OptionError.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        form: Form,
        clamp: bool = False,
        tags: Tags | None = None,
        samples: int | None = None,
        channel_mask: int = 0,
    ) -> None:
        """`samples`, where known, decides whether a WAV file becomes RF64, which may exceed 4 GB.

        `channel_mask` goes into WAV and FLAC files of more than two channels; 0: not known.
        """
        check_form(form, sample_rate, channels)
        self.path, self.form, self.channels = path, form, channels
        self.peak, self.clipped = 0.0, 0
        self._cut = clamp or not form.floating
        self._bytes, self._sample_bytes = 0, channels * _sample_bytes(form)
        self._limit = WAV_BYTES if form.format == "WAV" else None
        self._order = list(VORBIS_ORDER.get(channels, range(channels))) if form.format == "OGG" else None
        # FLAC has a meaning without a mask, WAV says that none is known.
        says_mask = has_field(form, channels) and (channel_mask or form.format == "WAV")
        self._mask = channel_mask if says_mask else None
        container = container_for(form, channels)
        if self._limit is not None and samples is not None and samples * self._sample_bytes > self._limit:
            container, self._limit = "RF64", None
        self._part = Part(path)
        try:
            self._file = soundfile.SoundFile(
                self._part, "w", sample_rate, channels, format=container, subtype=form.subtype
            )
            write_tags(self._file, tags or {})
            if self._mask is not None:
                make_room(self._file)
        except (soundfile.SoundFileError, OSError, RuntimeError, ValueError, TypeError) as error:
            self._part.discard()
            self._part.check()
            raise cannot_write(path, error) from error
        except BaseException:
            self._part.discard()
            raise

    def write(self, block: Samples) -> None:
        """[c, n], full scale 1.0"""
        if not block.shape[1]:
            return
        if self._order is not None:
            block = block[self._order]
        levels = np.abs(block)
        self.peak = max(self.peak, float(levels.max()))
        if self._cut:
            beyond = int(np.count_nonzero(levels > 1.0))
            if beyond:
                self.clipped += beyond
                block = np.clip(block, -1.0, 1.0)
        self._bytes += block.shape[1] * self._sample_bytes
        if self._limit is not None and self._bytes > self._limit:
            raise AudioError(f"{self.path}: would exceed the 4 GB of a WAV file: choose --format flac")
        encoded = self._encoded(block)
        for first in range(0, len(encoded), SLICE):
            try:
                self._file.write(encoded[first : first + SLICE])
            except (soundfile.SoundFileError, AssertionError, OSError, RuntimeError) as error:
                self._part.check()
                raise cannot_write(self.path, error) from error
            self._part.check()

    def _encoded(self, block: Samples) -> NDArray[Any]:
        """[c, n] -> [n, c] as libsndfile stores it unchanged; its own conversion to integers rounds down."""
        if self.form.bits is None:
            return np.ascontiguousarray(block.T, np.float64 if self.form.dtype == "float64" else np.float32)
        full = 2.0 ** (self.form.bits - 1)
        exact = block.T.astype(np.float64 if self.form.bits > 24 else block.dtype)
        levels = np.clip(np.rint(exact * full), -full, full - 1)
        return np.ascontiguousarray(levels.astype(np.int32) << (32 - self.form.bits))

    def finish(self) -> None:
        """No more blocks: the file is whole, though not yet in place."""
        try:
            self._file.close()
        except (soundfile.SoundFileError, OSError, RuntimeError) as error:
            self._part.check()
            raise cannot_write(self.path, error) from error
        self._part.check()
        if self._mask is not None:
            write_mask(self._part, self._mask)
        self._part.finish()

    def discard(self) -> None:
        if not self._file.closed:
            self._part.error = self._part.error or InterruptedError()  # what is buffered need not be written
            with suppress(soundfile.SoundFileError, RuntimeError):
                self._file.close()
        self._part.discard()

    @staticmethod
    def put_in_place(writers: list[SongWriter], existing: str = "replace") -> list[SongWriter]:
        """Give finished files their names as `part.put_in_place` does; returns those that have them."""
        placed = put_in_place([writer._part for writer in writers], existing)
        return [writer for writer in writers if writer._part in placed]

    def __enter__(self) -> SongWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
                self.put_in_place([self])
        finally:
            self.discard()


def _sample_bytes(form: Form) -> int:
    return {"FLOAT": 4, "DOUBLE": 8}.get(form.subtype, (form.bits or 0) // 8)
