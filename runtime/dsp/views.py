"""Showing the network a chunk in several ways and taking the mean of what it makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import OptionError

Float = NDArray[np.float32]

MAX_SHIFTS = 16


@dataclass(frozen=True)
class View:
    """A chunk with its channels swapped, inverted, or `late` samples later: its last ones are not shown then."""

    swapped: bool = False
    inverted: bool = False
    late: int = 0

    def of(self, wave: Float) -> Float:
        """[c, chunk] -> the same, as the network is to see it."""
        shown = np.pad(wave[:, : wave.shape[1] - self.late], ((0, 0), (self.late, 0)))
        return self._changed(shown)

    def back(self, stems: Float) -> Float:
        """What the network made of it, [s, c, chunk] -> the stems of the chunk as it was, [s, c, chunk - late]."""
        return self._changed(stems[..., self.late :])

    def _changed(self, wave: Float) -> Float:
        if self.swapped:
            wave = wave[..., ::-1, :]
        return -wave if self.inverted else wave


AS_IT_IS = View()


def views_of(tta: bool, shifts: int, hop_length: int, channels: int) -> tuple[View, ...]:
    """As it is first; with `tta` each view again with its channels swapped, or inverted for a network of one channel.

    `shifts` views lie evenly within a hop: to the network a shift by whole hops is none. Raises OptionError.
    """
    if not 1 <= shifts <= MAX_SHIFTS:
        raise OptionError(f"shifts {shifts}: expected a number from 1 to {MAX_SHIFTS}")
    late = [round(i * hop_length / shifts) for i in range(shifts)]
    changes = [(False, False), (channels > 1, channels == 1)] if tta else [(False, False)]
    return tuple(View(swapped, inverted, each) for each in late for swapped, inverted in changes)


def mean_of(views: Iterable[View], stems: Iterable[Float]) -> Float:
    """The stems [s, c, chunk] each view gave -> their mean, at each sample over the views that show it."""
    total: Float | None = None
    for view, found in zip(views, stems, strict=True):
        part = view.back(found)
        if total is None:
            total, count = np.zeros_like(found), np.zeros(found.shape[-1], np.float32)
        total[..., : part.shape[-1]] += part
        count[: part.shape[-1]] += 1
    if total is None:
        raise ValueError("no views")
    return total / count
