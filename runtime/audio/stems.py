"""All stems of one song, written side by side: they appear together, at one common level, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.audio.form import Form
from runtime.audio.part import EXISTING, Part
from runtime.audio.speakers import fits_vorbis, layout_of_mask, vorbis_mask
from runtime.audio.tags import Tags
from runtime.audio.writer import CLIP, SongWriter, check_form
from runtime.errors import OptionError

Samples = NDArray[np.floating[Any]]

BLOCK = 1 << 16  # samples


class StemWriters:
    """The stems of a song into their files; a context manager.

    At its end all stems take their names, or after an error none does and what was there before stays. `clip` says
    what becomes of samples beyond full scale:

    - "rescale": where `form` cannot hold them (integers, lossy codecs) all stems are turned down by one factor, `gain`,
      so that none is cut and their sum is the song, turned down. Floating-point files keep the overshoot.
    - "clamp": they are cut to full scale, in floating-point files, too.
    - "none": nothing is done about them; integers and lossy codecs cut them.

    `existing`, one of `part.EXISTING`, says what happens where another file has a stem's name at the end: "replace"
    replaces that file, "skip" leaves the stem out, "refuse" raises. `written` are the files that were made, `clipped`
    counts the samples cut, both by stem. What has to wait for the largest level lies in a raw file beside the target:
    as much room again, never memory.
    """

    def __init__(
        self,
        targets: Mapping[str, Path],
        sample_rate: int,
        channels: int,
        form: Form,
        clip: str = "rescale",
        tags: Tags | None = None,
        samples: int | None = None,
        existing: str = "replace",
        channel_mask: int = 0,
    ) -> None:
        """`samples` and `channel_mask`: of the song, where known.

        Raises OptionError, AudioError where a target cannot be written.
        """
        if clip not in CLIP:
            raise OptionError(f"--clip {clip}: must be {', '.join(CLIP[:-1])} or {CLIP[-1]}")
        if existing not in EXISTING:
            raise OptionError(f"existing {existing}: must be one of {', '.join(EXISTING)}")
        check_form(form, sample_rate, channels)
        self.gain = 1.0
        self.notes = _notes(form, channels, channel_mask)  # for the user
        self.clipped: dict[str, int] = {}
        self.written: dict[str, Path] = {}
        self._existing = existing
        self._form, self._clip, self._channels = form, clip, channels
        # The length decides between WAV and RF64, the largest level the gain: without one of them nothing is encoded.
        self._waits = (clip == "rescale" and not form.floating) or (form.format == "WAV" and samples is None)
        self._settings = (sample_rate, channels, form, clip == "clamp", tags)
        self._mask = channel_mask
        self._outputs: dict[str, SongWriter | RawSamples] = {}
        self._stack = ExitStack()
        with self._stack:  # what was opened is removed if a later one fails
            for stem, path in targets.items():
                output = RawSamples(path, channels) if self._waits else self._writer(path, samples)
                self._stack.callback(output.discard)
                self._outputs[stem] = output
            self._stack = self._stack.pop_all()

    def _writer(self, path: Path, samples: int | None) -> SongWriter:
        return SongWriter(path, *self._settings, samples, self._mask)

    @property
    def peaks(self) -> dict[str, float]:
        """The largest level of each stem so far, before any gain."""
        return {stem: output.peak for stem, output in self._outputs.items()}

    def write(self, stems: Mapping[str, Samples]) -> None:
        """The next [c, n] of every stem, n the same for all. Raises AudioError."""
        for stem, output in self._outputs.items():
            output.write(stems[stem])

    def _finish(self) -> None:
        writers = self._encode() if self._waits else self._outputs
        done = {stem: writer for stem, writer in writers.items() if isinstance(writer, SongWriter)}
        for writer in done.values():
            writer.finish()
        placed = SongWriter.put_in_place(list(done.values()), self._existing)
        self.written = {stem: writer.path for stem, writer in done.items() if writer in placed}
        self.clipped = {stem: done[stem].clipped for stem in self.written}

    def _encode(self) -> dict[str, SongWriter]:
        raw = {stem: output for stem, output in self._outputs.items() if isinstance(output, RawSamples)}
        peak = max(self.peaks.values())
        if self._clip == "rescale" and not self._form.floating and peak > 1.0:
            self.gain = full_scale(self._form) / peak
        writers = {}
        for stem, samples in raw.items():
            writers[stem] = self._writer(samples.path, samples.count)
            self._stack.callback(writers[stem].discard)
            for block in samples.blocks():
                writers[stem].write(block * block.dtype.type(self.gain) if self.gain != 1.0 else block)
            samples.discard()  # its room is needed for the next stem
        return writers

    def __enter__(self) -> StemWriters:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._finish()


class RawSamples:
    """Samples on the disk as they come, beside the file at `path` that they are for."""

    def __init__(self, path: Path, channels: int) -> None:
        self.path = path
        self.peak = 0.0
        self.count = 0  # samples
        self._channels = channels
        self._dtype: np.dtype[Any] | None = None  # of the first block: float32 or float64
        self._part = Part(path)

    def write(self, block: Samples) -> None:
        """[c, n]"""
        if not block.shape[1]:
            return
        self._dtype = self._dtype or block.dtype
        self.peak = max(self.peak, float(np.abs(block).max()))
        self.count += block.shape[1]
        self._part.write(np.ascontiguousarray(block.T, self._dtype))
        self._part.check()

    def blocks(self) -> Iterator[Samples]:
        """[c, n], from the first sample on."""
        self._part.seek(0)
        for first in range(0, self.count, BLOCK):
            size = min(BLOCK, self.count - first) * self._channels
            block = np.fromfile(self._part, self._dtype, size)
            yield block.reshape(-1, self._channels).T

    def discard(self) -> None:
        self._part.discard()


def _notes(form: Form, channels: int, channel_mask: int) -> list[str]:
    if form.format != "OGG" or channels < 3 or not channel_mask or fits_vorbis(channel_mask):
        return []
    said, meant = layout_of_mask(channel_mask), layout_of_mask(vorbis_mask(channels)) or "no speakers"
    return [
        f"Ogg files of {channels} channels are for {meant}, the song is for {said}: --format wav or flac keeps this"
    ]


def full_scale(form: Form) -> float:
    """The largest level that `form` holds on both sides of zero."""
    return 1.0 if form.bits is None else 1.0 - 2.0 ** (1 - form.bits)
