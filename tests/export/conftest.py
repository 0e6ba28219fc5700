"""A network to export."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_checkpoint

from bsmamba2.checkpoint import Checkpoint


@pytest.fixture
def tiny(tmp_path: Path) -> Checkpoint:
    return tiny_checkpoint(tmp_path, kind="transformer")  # traced faster
