"""Conversion of the sample rate, block by block."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

Float = NDArray[np.float32]

BLOCK = 1 << 15  # samples given to soxr at a time


class Resampler:
    """Converts a song [..., n] from `source` Hz to `target` Hz, block by block; equal rates change nothing.

    The output is delayed against the input; `finish` gives the rest, so that the total length is the one asked for.
    """

    def __init__(self, source: int, target: int, shape: tuple[int, ...]) -> None:
        """`shape`: of a block without its last axis, such as (channels,)."""
        self._shape = shape
        self._width = int(np.prod(shape))
        self._given = 0
        self._stream = None
        if source != target:
            self._stream = soxr.ResampleStream(source, target, self._width, dtype="float32", quality="VHQ")

    def put(self, block: Float) -> Float:
        """Add [..., n]; returns the samples that are ready, [..., any number]."""
        done = block if self._stream is None else self._resample(self._stream, block)
        self._given += done.shape[-1]
        return done

    def finish(self, samples: int) -> Float:
        """The rest, so that there are `samples` in total; padded with zeros if the filter gave fewer."""
        rest = np.zeros((*self._shape, 0), np.float32)
        if self._stream is not None:
            rest = self._resample(self._stream, rest, last=True)
        missing = samples - self._given
        out = np.zeros((*self._shape, max(0, missing)), np.float32)
        n = min(rest.shape[-1], out.shape[-1])
        out[..., :n] = rest[..., :n]
        return out

    def _resample(self, stream: soxr.ResampleStream, block: Float, last: bool = False) -> Float:
        columns = block.reshape(self._width, -1).T
        parts = [columns[i : i + BLOCK] for i in range(0, len(columns), BLOCK)] or [columns]
        done = [stream.resample_chunk(np.ascontiguousarray(part), last=last and part is parts[-1]) for part in parts]
        out: Float = np.concatenate(done).T.reshape(*self._shape, -1)
        return out


def resampled_length(samples: int, source: int, target: int) -> int:
    """Samples of a song of `samples` at `source` Hz after conversion to `target` Hz; at least 1."""
    return max(1, (2 * samples * target + source) // (2 * source))
