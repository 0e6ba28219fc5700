"""Test-time augmentation: the mean of several passes over a chunk that is swapped, inverted or shifted."""

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
    """A chunk with its channels swapped, inverted, or delayed by `late` samples (the last ones are cut off then)."""

    swapped: bool = False
    inverted: bool = False
    late: int = 0

    def of(self, wave: Float) -> Float:
        """[c, chunk] -> [c, chunk] as the network gets it."""
        shown = np.pad(wave[:, : wave.shape[1] - self.late], ((0, 0), (self.late, 0)))
        return self._changed(shown)

    def back(self, stems: Float) -> Float:
        """The network's stems of the view, [s, c, chunk] -> those of the chunk itself, [s, c, chunk - late]."""
        return self._changed(stems[..., self.late :])

    def _changed(self, wave: Float) -> Float:
        if self.swapped:
            wave = wave[..., ::-1, :]
        return -wave if self.inverted else wave


UNCHANGED = View()


def views_of(tta: bool, shifts: int, hop_length: int, channels: int) -> tuple[View, ...]:
    """The unchanged chunk first; with `tta` each view also with swapped channels (mono: inverted).

    `shifts` views are delayed by even fractions of a hop: a shift by whole hops would only shift the frames. Raises
    OptionError.
    """
    if not 1 <= shifts <= MAX_SHIFTS:
        raise OptionError(f"--shifts {shifts}: must be between 1 and {MAX_SHIFTS}")
    late = [round(i * hop_length / shifts) for i in range(shifts)]
    changes = [(False, False), (channels > 1, channels == 1)] if tta else [(False, False)]
    return tuple(View(swapped, inverted, each) for each in late for swapped, inverted in changes)


def mean_of(views: Iterable[View], stems: Iterable[Float]) -> Float:
    """The `stems` [s, c, chunk] of each view -> their mean, at each sample over the views that contain it."""
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
