"""A chain of Ogg files: one file that holds several, one after the other, as internet radio sends them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from runtime.audio.inspection import Inspection, Part, UnreadableError
from runtime.audio.sndfile import Samples, SndfileSource
from runtime.dsp.resampling import Resampler, resampled_length
from runtime.errors import AudioError

BLOCK = 1 << 16  # samples
MOST_COUNTED = 1000  # links whose lengths are looked up before they are read


class ChainSource:
    """The samples of all links, at the rate and with the channels of the first. Raises AudioError."""

    def __init__(self, path: Path, inspection: Inspection) -> None:
        self._path, self._parts, self.notes = path, inspection.parts, list(inspection.notes)
        with_first = self._open(self._parts[0])
        self.sample_rate, self.channels = with_first.sample_rate, with_first.channels
        self.form, self.tags, self.channel_mask = with_first.form, with_first.tags, with_first.channel_mask
        with_first.close()
        self.samples = self._count()
        self.notes.append(f"a chain of {len(self._parts)} streams: they are taken as one song")
        self._blocks = self._read()
        self._rest: Samples = np.zeros((0, self.channels), np.float32)

    def _open(self, part: Part) -> SndfileSource:
        try:
            return SndfileSource(self._path, part)
        except UnreadableError as error:  # ffmpeg would read the first stream only
            raise AudioError(
                f"{self._path}: a chain of {len(self._parts)} streams, of which libsndfile cannot read one ({error}): "
                "separate them first, for example with oggz-chop or ffmpeg"
            ) from error

    def _count(self) -> int | None:
        """The length of the song; None where it takes too long to look it up."""
        if len(self._parts) > MOST_COUNTED:
            return None
        samples, others = 0, set()
        for part in self._parts:
            source = self._open(part)
            try:
                if source.samples is None:
                    return None
                samples += resampled_length(source.samples, source.sample_rate, self.sample_rate)
                others |= {source.sample_rate} - {self.sample_rate}
            finally:
                source.close()
        if others:
            rates = ", ".join(f"{rate} Hz" for rate in sorted(others))
            self.notes.append(
                f"parts of it have {rates}: they are converted to {self.sample_rate} Hz, as its first part"
            )
        return samples

    def _read(self) -> Generator[Samples, None, None]:
        for part in self._parts:
            source = self._open(part)
            try:
                yield from self._converted(source)
                self.notes += source.notes
            finally:
                source.close()

    def _converted(self, source: SndfileSource) -> Iterator[Samples]:
        """[n, c] at the rate and with the channels of the first link."""
        if source.channels != self.channels and 1 not in (source.channels, self.channels):
            raise AudioError(
                f"{self._path}: a chain of streams with {self.channels} and {source.channels} channels: "
                "separate them first, for example with oggz-chop or ffmpeg"
            )
        resampler = Resampler(source.sample_rate, self.sample_rate, (self.channels,))
        done = 0
        while len(block := source.read(BLOCK)):
            done += len(block)
            if source.channels != self.channels:
                block = np.repeat(block.mean(axis=1, keepdims=True), self.channels, axis=1)
            yield resampler.put(block.T.astype(np.float32, copy=False)).T
        yield resampler.finish(resampled_length(done, source.sample_rate, self.sample_rate) if done else 0).T

    def read(self, count: int) -> Samples:
        """[n, c]"""
        while not len(self._rest):
            block = next(self._blocks, None)
            if block is None:
                break
            self._rest = block
        block, self._rest = self._rest[:count], self._rest[count:]
        return block

    def close(self) -> None:
        self._blocks.close()
