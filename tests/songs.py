"""Songs for tests, in memory and in files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

STEMS_RATE = 8000  # Hz


def noise(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)


def blocks_of(song: np.ndarray, sizes: Sequence[int]) -> Iterator[np.ndarray]:
    """`song`, [channels, samples], in blocks of these sizes, over and over."""
    start = 0
    for size in itertools.cycle([*sizes, 1000]):
        if start >= song.shape[1]:
            return
        yield song[:, start : start + size]
        start += size


def song(path: str | Path, channels: int = 2, rate: int = 44100, samples: int = 10000) -> np.ndarray:
    """Noise into a new file, 32-bit floats where it is WAV; returns it, [samples, channels]."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    audio = np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels)).astype(np.float32)
    soundfile.write(path, audio, rate, subtype="FLOAT" if str(path).endswith("wav") else None)
    return audio


def files(folder: str | Path = "separated") -> list[str]:
    """Names of all files below `folder`, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def lines(path: str | Path = "done.jsonl") -> list[dict]:
    """What `bsm-run --manifest` has written."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def write_stems(folder: Path, names: tuple[str, ...], seed: int, seconds: float = 3.0) -> None:
    """A song with stems `names`, at STEMS_RATE: tones, a pitch for each stem, with some noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * STEMS_RATE)) / STEMS_RATE
    folder.mkdir(parents=True)
    for k, name in enumerate(names):
        tone = np.sin(2 * np.pi * (200 + 300 * k + 50 * seed) * time) * rng.uniform(0.2, 0.4, len(time))
        soundfile.write(folder / f"{name}.wav", np.stack([tone, tone / 2], axis=1), STEMS_RATE, subtype="FLOAT")
