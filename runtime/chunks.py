"""Cutting a song into chunks of one length and putting their results together again without seams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import OptionError

Float = NDArray[np.float32]

MAX_OVERLAP = 0.9


@dataclass(frozen=True)
class ChunkPlan:
    """Where the chunks of a song of `total` samples start, and how much each one counts at each sample.

    Chunks of `chunk` samples start every `step` samples from 0; the last one may reach past the end, where the
    song counts as zeros. Neighbours share `chunk - step` samples.
    """

    total: int
    chunk: int
    step: int

    @classmethod
    def of(cls, total: int, chunk: int, overlap: float) -> ChunkPlan:
        """`overlap` is the part of a chunk it shares with the next, 0 to 0.9. Raises OptionError."""
        if not 0 <= overlap <= MAX_OVERLAP:
            raise OptionError(f"overlap {overlap}: expected a number from 0 to {MAX_OVERLAP}")
        return cls(total, chunk, max(1, round(chunk * (1 - overlap))))

    def __len__(self) -> int:
        beyond = max(0, self.total - self.chunk)
        return 1 + -(-beyond // self.step)

    def start(self, index: int) -> int:
        return index * self.step

    def cut(self, wave: Float, index: int) -> Float:
        """Chunk `index` of `wave` [c, total], with zeros past its end: [c, chunk]."""
        piece = wave[:, self.start(index) : self.start(index) + self.chunk]
        missing = self.chunk - piece.shape[1]
        return np.pad(piece, ((0, 0), (0, missing))) if missing else piece

    def weights(self, index: int) -> Float:
        """How much each sample of chunk `index` counts, [chunk], above 0 everywhere.

        Raised-cosine flanks where a neighbour overlaps, 1 elsewhere: the first chunk does not fade in and the last
        does not fade out, so no sample of the song is ever without weight.
        """
        fade = min(self.chunk - self.step, self.chunk // 2)
        weights = np.ones(self.chunk, np.float32)
        if fade:
            ramp = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade) ** 2
            ramp = np.maximum(ramp, 1e-6).astype(np.float32)
            if index > 0:
                weights[:fade] = ramp
            if index < len(self) - 1:
                weights[-fade:] = ramp[::-1]
        return weights


class OverlapAdd:
    """The weighted mean of overlapping chunks: add each one once, then take the `result`."""

    def __init__(self, plan: ChunkPlan, shape: tuple[int, ...]) -> None:
        """`shape` of the result without its samples, such as (stems, channels)."""
        self.plan = plan
        self.sum = np.zeros((*shape, plan.total), np.float32)
        self.weight = np.zeros(plan.total, np.float32)

    def add(self, index: int, chunk: Float) -> None:
        """Take in chunk `index`, [*shape, chunk]; what lies past the song's end is dropped."""
        start = self.plan.start(index)
        end = min(start + self.plan.chunk, self.plan.total)
        weights = self.plan.weights(index)[: end - start]
        self.sum[..., start:end] += weights * chunk[..., : end - start]
        self.weight[start:end] += weights

    def result(self) -> Float:
        return self.sum / self.weight
