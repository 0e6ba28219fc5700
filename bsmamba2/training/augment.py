"""Further augmentation of a stem, off by default: the paper's networks were trained with gains and silence only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Augmentation:
    """Chances from 0 to 1; `speed` is the range of factors a stem is played at, pitch and tempo together."""

    swap_channels: float = 0.0
    polarity: float = 0.0
    speed: tuple[float, float] = (1.0, 1.0)

    def apply(self, rng: np.random.Generator, samples: int, read: Callable[[int], Float]) -> Float:
        """[c, samples] of the stem that `read` gives the first so many samples of."""
        speed = rng.uniform(*self.speed)
        if speed == 1.0:
            wave = read(samples)
        else:
            wave = soxr.resample(read(int(np.ceil(samples * speed)) + 1).T, speed, 1.0, quality="MQ").T
            wave = np.pad(wave[:, :samples], ((0, 0), (0, max(0, samples - wave.shape[1]))))
        if rng.random() < self.swap_channels:
            wave = wave[::-1]
        if rng.random() < self.polarity:
            wave = -wave
        return np.ascontiguousarray(wave, np.float32)
