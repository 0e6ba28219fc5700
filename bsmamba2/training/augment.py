"""Additional augmentation of stems, off by default: the paper uses gains and silence only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Augmentation:
    """Probabilities from 0 to 1; `speed` is the range of playback speeds, which change pitch and tempo together."""

    swap_channels: float = 0.0
    polarity: float = 0.0
    speed: tuple[float, float] = (1.0, 1.0)

    def apply(self, rng: np.random.Generator, samples: int, read: Callable[[int], Float]) -> Float:
        """An augmented stem [c, samples]; `read(n)` returns its first n samples."""
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
