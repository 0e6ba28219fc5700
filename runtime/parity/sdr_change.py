"""The SDR of a song's stems before and after the export, given its true stems."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.audio import Song, read_song
from runtime.errors import NumericsError, OptionError
from runtime.evaluation.metrics import usdr
from runtime.separation.separator import Separator

Float = NDArray[np.float32]

SUFFIXES = (".wav", ".flac")
MOST_CHANGE = {"fp32": 0.02, "fp16": 0.02, "bf16": 0.05}  # dB, by precision


@dataclass(frozen=True)
class SdrChange:
    """SDR of one stem in dB: of the mixture, of PyTorch's stem, of the engine's stem (NaN if it holds NaN or Inf)."""

    stem: str
    precision: str
    mixture: float
    reference: float | None  # None if PyTorch was not run
    engine: float

    @property
    def change(self) -> float | None:
        return None if self.reference is None else self.engine - self.reference

    @property
    def passed(self) -> bool:
        return math.isfinite(self.engine) if self.change is None else abs(self.change) <= MOST_CHANGE[self.precision]


def read_true_stems(folder: Path, song: Song, names: list[str]) -> dict[str, Float]:
    """The stems among `names` that `folder` has as NAME.wav or NAME.flac, each [c, samples] like the song.

    Raises OptionError if it has none, or one of another rate or shape; AudioError.
    """
    truth = {}
    files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    for name in names:
        path = next((files[f"{name}{suffix}"] for suffix in SUFFIXES if f"{name}{suffix}" in files), None)
        if path is None:
            continue
        stem = read_song(path)
        if (stem.sample_rate, stem.audio.shape) != (song.sample_rate, song.audio.shape):
            raise OptionError(f"{path}: has {_words(stem)}, the song has {_words(song)}: expected a stem of this song")
        truth[name] = stem.audio
    if not truth:
        wanted = " or ".join(f"{name}{suffix}" for name in names for suffix in SUFFIXES)
        raise OptionError(f"--stems {folder}: has none of the engine's stems: expected {wanted}")
    return truth


def _words(song: Song) -> str:
    return f"{song.audio.shape[0]} channels of {song.audio.shape[1]} samples at {song.sample_rate} Hz"


def sdr_changes(
    song: Song, truth: dict[str, Float], engine: Separator, reference: Separator | None = None
) -> list[SdrChange]:
    """Separate `song` with the engine and, if given, with PyTorch, and measure both against `truth`."""
    names = list(truth)
    before = None if reference is None else reference.separate(song.audio, song.sample_rate, names)
    try:
        after = engine.separate(song.audio, song.sample_rate, names)
    except NumericsError:
        after = None
    return [
        SdrChange(
            stem=name,
            precision=engine.manifest.precision,
            mixture=usdr(true, song.audio),
            reference=None if before is None else usdr(true, before[name]),
            engine=math.nan if after is None else usdr(true, after[name]),
        )
        for name, true in truth.items()
    ]
