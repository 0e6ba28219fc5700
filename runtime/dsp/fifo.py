"""A queue of samples between two steps that work in blocks of different lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.floating[Any]]


class Fifo:
    """A queue of samples [..., n].

    It keeps them in one array, at most four times as long as the longest content so far.
    """

    def __init__(self) -> None:
        self._array: Samples | None = None  # shape and type are those of the first block
        self._start = self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    def put(self, block: Samples) -> None:
        """Append [..., n]."""
        n = block.shape[-1]
        if self._array is None:
            self._array = np.empty((*block.shape[:-1], 2 * n), block.dtype)
        if self._end + n > self._array.shape[-1]:
            self._make_room(self._array, len(self) + n)
        self._array[..., self._end : self._end + n] = block
        self._end += n

    def _make_room(self, array: Samples, needed: int) -> None:
        waiting = array[..., self._start : self._end]
        if 2 * needed > array.shape[-1]:
            array = np.empty((*array.shape[:-1], 4 * needed), array.dtype)
        array[..., : len(self)] = waiting
        self._array, self._start, self._end = array, 0, len(self)

    def first(self, count: int) -> Samples:
        """A copy of the first `count` samples, [..., count], which stay in the queue."""
        if self._array is None or count > len(self):
            raise ValueError(f"{count} of {len(self)} samples")
        copy: Samples = self._array[..., self._start : self._start + count].copy()
        return copy

    def drop(self, count: int) -> None:
        self._start += count

    def take(self, count: int) -> Samples:
        """Removes and returns the first `count` samples, [..., count]."""
        taken = self.first(count)
        self.drop(count)
        return taken
