from __future__ import annotations

from pathlib import Path

import pytest
from songs import write_stems


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs to train on and one to validate on, laid out as MUSDB18-HQ."""
    root = tmp_path_factory.mktemp("songs")
    for i, name in enumerate(("train/one", "train/two", "valid/three")):
        write_stems(root / name, ("vocals", "drums", "bass", "other"), seed=i)
    return root
