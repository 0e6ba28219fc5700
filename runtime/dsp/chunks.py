"""Cutting a song into chunks of equal length, and overlap-add of their results, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.dsp.fifo import Fifo
from runtime.errors import OptionError

Float = NDArray[np.float32]
Positions = NDArray[np.float64]

MAX_OVERLAP = 0.9
# Fade-in of a chunk over its overlap with the one before, at positions 0 to 1; "flat": both have the same weight.
WINDOWS: dict[str, Callable[[Positions], Positions]] = {
    "cosine": lambda x: np.sin(np.pi / 2 * x) ** 2,
    "linear": lambda x: x,
    "flat": np.ones_like,
}


@dataclass(frozen=True)
class Chunk:
    """Part of a song and what is needed to put its result back in place.

    `wave` [..., chunk] begins at sample `start` of the song. That may be negative: where a chunk reaches beyond the
    ends of the song, it holds padding. `weights` [chunk] are the weights of its samples in the result, `done` those of
    its samples that are in the song and that no later chunk changes. `last`: no chunk follows.
    """

    start: int
    wave: Float
    weights: Float
    done: slice
    last: bool


class Cutter(Protocol):
    """Cuts a song into the chunks of a plan, block by block."""

    def put(self, block: Float) -> Iterator[Chunk]:
        """Add the next [..., n]; yields the chunks that no later block changes."""

    def finish(self) -> Iterator[Chunk]:
        """The other chunks of the song, at least the last one."""


class Plan(Protocol):
    """A way to cut songs into chunks of equal length."""

    def count(self, samples: int) -> int:
        """The number of chunks of a song of `samples`."""

    def cutter(self) -> Cutter:
        """Cuts one song."""


@dataclass(frozen=True)
class ChunkPlan:
    """Where chunks start, and the weight of each of their samples.

    Chunks of `chunk` samples start every `step` samples from 0; the last one is padded with zeros. Neighbours overlap
    by `chunk - step` samples. At each end of a chunk `edge` samples of the overlap have weight 0, since the network
    lacks their context; over the rest one chunk fades into the next.
    """

    chunk: int
    step: int
    edge: int = 0
    window: str = "cosine"

    @classmethod
    def of(cls, chunk: int, overlap: float, discard: float = 0.0, window: str = "cosine") -> ChunkPlan:
        """`overlap` is a fraction of a chunk, 0 to 0.9; `discard` the fraction of the overlap that gets weight 0, 0 to
        1, half of it at each end; `window` one of `WINDOWS`. Raises OptionError.
        """
        if not 0 <= overlap <= MAX_OVERLAP:
            raise OptionError(f"--overlap {overlap}: must be between 0 and {MAX_OVERLAP}")
        if not 0 <= discard <= 1:
            raise OptionError(f"discard {discard}: must be between 0 and 1")
        if window not in WINDOWS:
            raise OptionError(f"window {window}: must be one of {', '.join(WINDOWS)}")
        step = max(1, round(chunk * (1 - overlap)))
        return cls(chunk, step, int(discard * (chunk - step) / 2), window)

    def count(self, samples: int) -> int:
        """The number of chunks of a song of `samples`."""
        return 1 + -(-max(0, samples - self.chunk) // self.step)

    def cutter(self) -> ChunkCutter:
        """Cuts one song."""
        return ChunkCutter(self)

    def weights(self, first: bool, last: bool) -> Float:
        """The weight of each sample of a chunk, [chunk].

        The first chunk of a song does not fade in and the last does not fade out, so that every sample has a weight.
        """
        kept = self.chunk - 2 * self.edge
        fade = min(kept - self.step, kept // 2)  # edge <= (chunk - step) / 2, so kept >= step
        flank = np.zeros(self.edge + fade, np.float32)
        flank[self.edge :] = np.maximum(WINDOWS[self.window]((np.arange(fade) + 0.5) / fade), 1e-6)
        weights = np.ones(self.chunk, np.float32)
        if len(flank) and not first:
            weights[: len(flank)] = flank
        if len(flank) and not last:
            weights[-len(flank) :] = flank[::-1]
        return weights


class ChunkCutter:
    """Cuts a song into the chunks of a `ChunkPlan`, block by block."""

    def __init__(self, plan: ChunkPlan) -> None:
        self._plan = plan
        self._wave = Fifo()
        self._start = 0

    def put(self, block: Float) -> Iterator[Chunk]:
        """Add the next [..., n]; yields the chunks that are complete, except the last one of the song."""
        self._wave.put(block)
        while len(self._wave) > self._plan.chunk:  # a sample after this chunk: it is not the last
            yield self._chunk(self._wave.first(self._plan.chunk), self._plan.step, last=False)
            self._wave.drop(self._plan.step)
            self._start += self._plan.step

    def finish(self) -> Iterator[Chunk]:
        """The last chunk."""
        rest = self._wave.first(len(self._wave))
        yield self._chunk(padded(rest, self._plan.chunk), rest.shape[-1], last=True)

    def _chunk(self, wave: Float, done: int, last: bool) -> Chunk:
        weights = self._plan.weights(first=self._start == 0, last=last)
        return Chunk(self._start, wave, weights, slice(0, done), last)


def padded(wave: Float, length: int, mirrored: bool = False) -> Float:
    """`wave` [..., n] with samples added at its end, zeros or its own `mirrored`, [..., length]."""
    missing = [(0, 0)] * (wave.ndim - 1) + [(0, length - wave.shape[-1])]
    return np.pad(wave, missing, mode="reflect") if mirrored else np.pad(wave, missing)


class OverlapAdd:
    """The weighted mean of overlapping chunks, added in order; 0 where no chunk has a weight."""

    def __init__(self) -> None:
        self._start = 0  # of the latest chunk; the sums are those of the chunks so far, from there on
        self._sum: Float | None = None
        self._weight = np.zeros(0, np.float32)

    def add(self, chunk: Chunk, wave: Float) -> Float:
        """Add the result of a chunk, [..., chunk]; returns its samples that are done, [..., n]."""
        if self._sum is None:
            self._sum, self._weight = np.zeros_like(wave), np.zeros_like(chunk.weights)
        elif (step := chunk.start - self._start) > 0:
            for held in (self._sum, self._weight):
                held[..., :-step] = held[..., step:]
                held[..., -step:] = 0
        self._start = chunk.start
        self._sum += chunk.weights * wave
        self._weight += chunk.weights
        total, weight = self._sum[..., chunk.done], self._weight[chunk.done]
        return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
