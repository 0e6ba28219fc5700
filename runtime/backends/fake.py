"""A backend without an engine, for tests of the code around it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Done

Float = NDArray[np.float32]


class FakeBackend:
    """Returns each stem as `gains[stem]` times the mixture, or the result of `function` on the mixture."""

    name = "fake"
    depth = 1

    def __init__(self, gains: tuple[float, ...] = (0.5,), function: Callable[[Float], Float] | None = None) -> None:
        self.gains = gains
        self.function = function
        self.notes: list[str] = []
        self.shapes: list[tuple[int, ...]] = []  # of every mixture it was given

    def run(self, mixture: Float) -> Float:
        self.shapes.append(mixture.shape)
        if self.function is not None:
            return self.function(mixture)
        return np.stack([np.float32(gain) * mixture for gain in self.gains], axis=1)

    def submit(self, mixture: Float) -> Done:
        return Done(self.run(mixture))

    def close(self) -> None:
        """Nothing to release."""
