"""Fixtures shared by the tests of all three packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import golden_data
import pytest
from hypothesis import settings
from official_files import lightning_file

# The same examples every time: what fails here fails everywhere. `--hypothesis-profile=random` looks for others.
settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile("same")


@pytest.fixture(scope="session")
def golden_engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports the network of a golden case from the official Lightning file by `bsm-export`, once a session."""
    from export.cli import app
    from runtime.command import exit_code

    folder = tmp_path_factory.mktemp("engines")

    def export(name: str) -> Path:
        engine = folder / f"{name}.onnx"
        if not engine.exists():
            checkpoint = folder / f"{name}.ckpt"
            lightning_file(checkpoint, name)
            frames = str(1 + golden_data.wave_in(name).shape[-1] // 441)
            code = exit_code(
                app, "bsm-export", ["--ckpt", str(checkpoint), "--frames", frames, "-o", str(folder / name)]
            )
            assert code == 0
        return engine

    return export
