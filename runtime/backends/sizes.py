"""The size of an input, checked before an engine gets it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.engine.manifest import Manifest
from runtime.errors import EngineError


def size_of(mixture: NDArray[np.float32], manifest: Manifest, engine: str) -> tuple[int, int]:
    """Batch and frames of `mixture`. Raises EngineError if `engine`, which `manifest` describes, takes no such input.

    A waveform has hop * (frames - 1) samples: a number that is no multiple of the hop is refused.
    """
    size = manifest.size_of(mixture.shape)
    if size is None or mixture.dtype != np.float32:
        batch, frames = manifest.batch, manifest.frames
        smallest, _, largest = manifest.input_shapes
        hop = f" in steps of {manifest.stft.hop_length} samples" if manifest.io == "wave" else ""
        raise EngineError(
            f"got {mixture.dtype} {mixture.shape}: {engine} takes float32, a batch of {batch.min} to {batch.max}, "
            f"{frames.min} to {frames.max} frames, which are {smallest} to {largest}{hop}"
        )
    return size
