from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 8000


def write_song(folder: Path, names: tuple[str, ...], seed: int, seconds: float = 3.0) -> None:
    """Tones, a pitch for each stem, with some noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    folder.mkdir(parents=True)
    for k, name in enumerate(names):
        tone = np.sin(2 * np.pi * (200 + 300 * k + 50 * seed) * time) * rng.uniform(0.2, 0.4, len(time))
        soundfile.write(folder / f"{name}.wav", np.stack([tone, tone / 2], axis=1), RATE, subtype="FLOAT")


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs to train on and one to validate on, laid out as MUSDB18-HQ."""
    root = tmp_path_factory.mktemp("songs")
    for i, name in enumerate(("train/one", "train/two", "valid/three")):
        write_song(root / name, ("vocals", "drums", "bass", "other"), seed=i)
    return root
