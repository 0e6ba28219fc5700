"""Engines with plans, on doubles of TensorRT and CUDA."""

from __future__ import annotations

import pytest
from plan_double import make

from runtime.engine.manifest import FLAVOURS


@pytest.fixture(params=FLAVOURS)
def setup(request, tmp_path, monkeypatch):
    return make(request.param, tmp_path, monkeypatch)


@pytest.fixture
def rtx(tmp_path, monkeypatch):
    return make("tensorrt-rtx", tmp_path, monkeypatch)
