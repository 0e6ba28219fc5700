"""Cutting a song into chunks as MSST (Music-Source-Separation-Training) does it, with its padding and its fades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.dsp.chunks import Chunk, padded
from runtime.dsp.fifo import Fifo
from runtime.engine.manifest import Msst

Float = NDArray[np.float32]

FADE = 10  # a fade is this part of a chunk: a tenth


@dataclass(frozen=True)
class MsstPlan:
    """Where MSST's chunks start, and the weight of each of their samples.

    A song of more than `2 * border` samples gets `border` samples at each end, mirrored. Chunks of `chunk` samples
    start every `step` samples of the padded song, as long as it lasts. Where one reaches beyond its end, the rest is
    mirrored, or silence if the part of the song is not longer than half of the chunk. Chunks are taken `batch` at a
    time, and the fades of a chunk depend on where its batch is: see `weights`.
    """

    chunk: int
    num_overlap: int
    batch: int

    @classmethod
    def of(cls, msst: Msst) -> MsstPlan:
        return cls(msst.chunk_size, msst.num_overlap, msst.batch_size)

    @property
    def step(self) -> int:
        return self.chunk // self.num_overlap

    @property
    def border(self) -> int:
        return self.chunk - self.step

    def padding(self, samples: int) -> int:
        """The samples added at each end of a song of `samples`."""
        return self.border if samples > 2 * self.border else 0

    def count(self, samples: int) -> int:
        """The number of chunks of a song of `samples`.

        MSST has more: those that start after the end of the song, in the padding, which say nothing about the song.
        """
        return -(-(samples + self.padding(samples)) // self.step)

    def cutter(self) -> MsstCutter:
        """Cuts one song."""
        return MsstCutter(self)

    def weights(self, number: int, end: int | None) -> Float:
        """The weight of each sample of chunk `number`, [chunk].

        `end` is the number of MSST's chunks, or None if there are more batches after that of the chunk. Chunks fade in
        and out linearly, from 0 to 1, except that the first one does not fade in if it is a batch of its own, and that
        otherwise no chunk of the last batch fades out.
        """
        weights = np.ones(self.chunk, np.float32)
        fade = self.chunk // FADE
        after_batch = self.batch_of(number) + self.batch  # number of the chunk after those of the batch
        if (after_batch if end is None else min(after_batch, end)) > 1:
            weights[:fade] = np.linspace(0, 1, fade)
            if end is not None:
                return weights
        weights[self.chunk - fade :] = np.linspace(1, 0, fade)
        return weights

    def batch_of(self, number: int) -> int:
        """The number of the first chunk in the batch of chunk `number`."""
        return number // self.batch * self.batch


class MsstCutter:
    """Cuts a song into the chunks of an `MsstPlan`, block by block.

    The first chunks wait until it is known whether the song is padded, all of them until it is known whether their
    batch is the last one. So what waits is never more than two borders, a chunk or a batch.
    """

    def __init__(self, plan: MsstPlan) -> None:
        self._plan = plan
        self._wave = Fifo()  # from the start of the next chunk on
        self._samples = 0  # of the song, so far
        self._number = 0  # of the next chunk

    def put(self, block: Float) -> Iterator[Chunk]:
        """Add the next [..., n]; yields the chunks that are complete and not in the last batch."""
        plan, before = self._plan, self._samples
        self._wave.put(block)
        self._samples += block.shape[-1]
        padding = plan.padding(self._samples)
        if padding > plan.padding(before):  # only now is the song known to be long enough
            start = self._wave.take(len(self._wave))
            self._wave.put(start[..., padding:0:-1])
            self._wave.put(start)
        if self._samples <= 2 * plan.border:  # not known yet whether there is padding
            return
        # With a sample after the chunk, what is left of it is enough to be mirrored at the end of the song.
        while len(self._wave) > plan.chunk and self._next_batch() < self._samples + 2 * padding:
            yield self._chunk(self._wave.first(plan.chunk), None, last=False)
            self._wave.drop(plan.step)
            self._number += 1

    def finish(self) -> Iterator[Chunk]:
        """The last batch, and what is complete of it only with the end of the song."""
        plan = self._plan
        padding = plan.padding(self._samples)
        if padding:
            self._wave.put(self._wave.first(len(self._wave))[..., -2 : -2 - padding : -1])
        msst_count = -(-(self._samples + 2 * padding) // plan.step)
        count = plan.count(self._samples)
        while self._number < count:
            part = self._wave.first(min(plan.chunk, len(self._wave)))
            wave = padded(part, plan.chunk, mirrored=part.shape[-1] > plan.chunk // 2)
            in_last = self._next_batch() >= msst_count * plan.step
            last = self._number == count - 1
            yield self._chunk(wave, msst_count if in_last else None, last)
            self._wave.drop(min(plan.step, len(self._wave)))
            self._number += 1

    def _next_batch(self) -> int:
        """The sample of the padded song at which the next batch starts."""
        return (self._plan.batch_of(self._number) + self._plan.batch) * self._plan.step

    def _chunk(self, wave: Float, end: int | None, last: bool) -> Chunk:
        plan = self._plan
        start = self._number * plan.step - plan.padding(self._samples)
        first = min(max(0, -start), plan.step)
        done = slice(first, max(first, min(plan.step, self._samples - start)))
        return Chunk(start, wave, plan.weights(self._number, end), done, last)
