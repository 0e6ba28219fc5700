"""What separates songs block by block, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.separation.timing import StageTimes

Samples = NDArray[np.floating[Any]]


class Runner(Protocol):
    """What runs the engine."""

    name: str  # library, version and device
    notes: list[str]  # messages for the user


class SongSeparator(Protocol):
    """The part of `Separator` that files of songs need."""

    times: StageTimes

    @property
    def backend(self) -> Runner: ...

    @property
    def stems(self) -> list[str]: ...

    def stream(
        self,
        blocks: Iterable[Samples],
        sample_rate: int,
        channels: int,
        stems: list[str] | None = None,
        progress: Callable[[int], None] | None = None,
        pairs: bool = False,
    ) -> Generator[dict[str, Samples], None, None]: ...

    def close(self) -> None: ...
