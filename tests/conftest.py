"""How tests run, and the fixtures shared by the tests of all three packages."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Read when NumPy and PyTorch are imported. With a worker per core, more threads wait for each other far longer than
# they compute; and sums of one thread are the same on every machine.
os.environ["OMP_NUM_THREADS"] = "1"
gc.set_threshold(100_000)  # of the default, a trace spends an eighth of its time in looking for garbage

# The same examples every time: what fails here fails everywhere. `--hypothesis-profile=random` looks for others.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None)
settings.load_profile("same")


@pytest.hookimpl(tryfirst=True)  # before the expression of -m is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tracing" in getattr(item, "fixturenames", ()):
            item.add_marker("seconds")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all workers share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder
