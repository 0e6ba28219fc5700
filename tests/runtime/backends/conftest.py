"""Engines with plans on doubles of TensorRT and CUDA, and a double of ONNX Runtime with GPUs."""

from __future__ import annotations

import ort_double
import pytest
from halving import halving_engine
from plan_double import make

from runtime.engine.manifest import FLAVOURS


@pytest.fixture(params=FLAVOURS)
def setup(request, tmp_path, monkeypatch):
    return make(request.param, tmp_path, monkeypatch)


@pytest.fixture
def rtx(tmp_path, monkeypatch):
    return make("tensorrt-rtx", tmp_path, monkeypatch)


@pytest.fixture
def engine(tmp_path):
    """Vocals are half the mixture; laid out for CPUs."""
    return halving_engine(tmp_path / "x.onnx")


@pytest.fixture
def onnxruntime(monkeypatch, tmp_path):
    """ONNX Runtime with providers that are `installed`, of which those that `start` do."""
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "cache"))
    return ort_double.make(monkeypatch)


@pytest.fixture
def plugin(onnxruntime, monkeypatch, tmp_path):
    """The same with NVIDIA's plugin and one GPU."""
    ort_double.install_plugin(monkeypatch, tmp_path)
    onnxruntime.gpus = ["0"]
    onnxruntime.start = [ort_double.RTX, ort_double.CPU]
    return onnxruntime
