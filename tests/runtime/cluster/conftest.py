"""Songs for workers, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from songs import song

from runtime.cluster.work import Job, Task
from runtime.songs.batch import Settings
from runtime.songs.inputs import NamedSong


@pytest.fixture
def tasks(tmp_path: Path) -> Callable[..., list[Task]]:
    """Makes songs, 0.2 s each, and the tasks of them."""

    def make(*names: str, samples: int = 9000) -> list[Task]:
        for name in names:
            song(tmp_path / "in" / f"{name}.wav", samples=samples)
        named = [NamedSong(tmp_path / "in" / f"{name}.wav", Path(name)) for name in names]
        return [Task(number, each) for number, each in enumerate(named, 1)]

    return make


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A job for `poison.opened`; keywords are its options."""

    def make(existing: str = "refuse", **options: object) -> Job:
        settings = Settings(tmp_path / "out", ["vocals", "instrumental"], "flac", existing=existing)
        return Job(tmp_path / "x.onnx", settings, options)

    return make
