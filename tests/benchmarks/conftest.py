"""benchmarks/ is where its commands find their modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def tracing(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are made once a run, with those of tests/export/."""
    from traced_once import traced_once

    folder = shared_folder / "traced"
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr("export.engine.to_onnx", traced_once(folder))
