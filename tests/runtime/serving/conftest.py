"""Servers around an engine whose vocals are half the song."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from halving import halving_engine
from serving_process import PATIENCE, Served, start


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halving_engine(tmp_path_factory.mktemp("engine") / "half.onnx")


@pytest.fixture(scope="module")
def starting(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Starts servers, which end with the module."""
    running: list[Served] = []

    def begin(*arguments: str, folder: Path | None = None, token: str | None = None) -> Served:
        running.append(start(engine, folder or tmp_path_factory.mktemp("served"), *arguments, token=token))
        return running[-1]

    yield begin
    for each in running:
        each.http.close()
        each.process.kill()
        each.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def served(starting: Callable[..., Served]) -> Served:
    """A server with small limits, for all tests of a module."""
    return starting("--max-seconds", "900", "--max-upload", "4")


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """short.wav: noise of 2 s; half.flac, long.flac: silence of half a minute and of ten, in small files."""
    folder = tmp_path_factory.mktemp("songs")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2 * 44100, 2))
    soundfile.write(folder / "short.wav", noise, 44100, subtype="PCM_16")
    for name, seconds in (("half", 30), ("long", 600)):
        soundfile.write(folder / f"{name}.flac", np.zeros((seconds * 8000, 1)), 8000)
    return folder
