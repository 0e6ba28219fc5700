"""How tests run, and the fixtures shared by the tests of all three packages."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

LINES = (Path(__file__).parents[1] / ".ci" / "programs.txt").read_text().splitlines()
PROGRAMS = {line.split()[0] for line in LINES if not line.startswith("#")}

# Read when PyTorch is imported. Other tests and programs want the other cores, and threads that wait for each other on
# a busy machine make networks this small several times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.set_threshold(100_000)  # of the default, a trace spends an eighth of its time in looking for garbage

# The same examples every time: what fails here fails everywhere, on slow machines too. `--hypothesis-profile=random`
# looks for others.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", PATIENT, derandomize=True)
settings.register_profile("random", PATIENT, derandomize=False)
settings.load_profile("same")


@pytest.hookimpl(tryfirst=True)  # before the expression of -m is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tracing" in getattr(item, "fixturenames", ()):
            item.add_marker("seconds")
        programs = {program for mark in item.iter_markers("needs") for program in mark.args}
        assert programs <= PROGRAMS, f"{programs}: not all are in .ci/programs.txt, so .ci/run would not install them"
        missing = sorted(program for program in programs if shutil.which(program) is None)
        if missing and not os.environ.get("CI"):
            item.add_marker(pytest.mark.skip(f"not installed: {', '.join(missing)}"))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all workers share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder
