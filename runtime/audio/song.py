"""A whole song in memory, for what needs all of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from runtime.audio.reader import open_song

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Song:
    audio: Float  # [c, samples]
    sample_rate: int  # Hz


def read_song(path: Path) -> Song:
    """Read whatever `open_song` reads. Raises AudioError."""
    with open_song(path) as song:
        audio = np.concatenate([block.astype(np.float32, copy=False) for block in song.blocks()], axis=1)
        return Song(audio, song.sample_rate)


def resample(audio: Float, source: int, target: int, samples: int | None = None) -> Float:
    """[c, samples] at `source` Hz to `target` Hz; cut or zero-padded to `samples` if given."""
    if source != target:
        audio = np.ascontiguousarray(soxr.resample(audio.T, source, target, quality="VHQ").T)
    if samples is not None and audio.shape[1] != samples:
        audio = np.pad(audio[:, :samples], ((0, 0), (0, max(0, samples - audio.shape[1]))))
    return audio.astype(np.float32, copy=False)
