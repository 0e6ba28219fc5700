"""Networks to export, and engines exported once a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import golden_data
import onnx
import pytest
from official_files import lightning_file
from tiny import tiny_checkpoint
from traced_once import locked, traced_once

from bsmamba2.checkpoint import Checkpoint
from runtime.command import exit_code


@pytest.fixture(scope="session")
def tracing(shared_folder: Path) -> Iterator[Callable[..., onnx.ModelProto]]:
    """`to_onnx` as `export_engine` calls it: each graph is made once. What uses it is not part of `make test-fast`."""
    folder = shared_folder / "traced"
    folder.mkdir(exist_ok=True)
    to_onnx = traced_once(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.engine.to_onnx", to_onnx)
        yield to_onnx


@pytest.fixture(autouse=True)
def only_where_asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `make test-fast` stays fast."""

    def refused(*args: object) -> None:
        pytest.fail("this test traces a network: it must use the fixture `tracing`")

    if "tracing" not in request.fixturenames:
        monkeypatch.setattr("export.engine.to_onnx", refused)


@pytest.fixture(scope="session")
def golden_engine(tracing: object, shared_folder: Path) -> Callable[[str], Path]:
    """Exports the network of a golden case from the official Lightning file by `bsm-export`, once a run."""
    from export.cli import app

    folder = shared_folder / "golden"
    folder.mkdir(exist_ok=True)

    def export(name: str) -> Path:
        engine = folder / f"{name}.onnx"
        with locked(folder / f"{name}.lock"):
            if not engine.exists():
                checkpoint = folder / f"{name}.ckpt"
                lightning_file(checkpoint, name)
                frames = str(1 + golden_data.wave_in(name).shape[-1] // 441)
                args = ["--ckpt", str(checkpoint), "--frames", frames, "-o", str(folder / name)]
                assert exit_code(app, "bsm-export", args) == 0
        return engine

    return export


@pytest.fixture
def tiny(tmp_path: Path) -> Checkpoint:
    return tiny_checkpoint(tmp_path, kind="transformer")  # traced faster
