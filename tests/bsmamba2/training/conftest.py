from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from songs import write_stems


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs to train on and one to validate on, laid out as MUSDB18-HQ."""
    root = tmp_path_factory.mktemp("songs")
    for i, name in enumerate(("train/one", "train/two", "valid/three")):
        write_stems(root / name, ("vocals", "drums", "bass", "other"), seed=i)
    return root


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small lose more by handing work to threads than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
