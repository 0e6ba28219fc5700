"""Runs through memory that is bound to a session: the same stems, and memory that stays."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from ort_double import CPU, CUDA

from runtime import EngineError, open_separator
from runtime.backends.gpu_memory import GpuMemory
from runtime.backends.onnxruntime import OnnxRuntimeBackend


def mixture(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, 11, 1025, 2, 2)).astype(np.float32)


def test_it_gives_what_a_run_gives(engine):
    """In the real ONNX Runtime, in the CPU's memory."""
    session = ort.InferenceSession(engine, providers=[CPU])
    memory = GpuMemory(session, "mixture", "stems", 0, kind="cpu")
    for seed, batch in enumerate((1, 1, 3, 3, 1)):
        given = mixture(batch, seed)
        found = memory.run(given, (batch, 1, *given.shape[1:]))
        np.testing.assert_array_equal(found, session.run(["stems"], {"mixture": given})[0])
    given = mixture(2)[:, :, ::-1]  # not contiguous
    np.testing.assert_array_equal(memory.run(given, (2, 1, *given.shape[1:]))[:, 0], 0.5 * given)


def test_cuda_runs_through_memory_of_its_gpu(onnxruntime, engine):
    onnxruntime.installed = onnxruntime.start = [CUDA, CPU]
    backend = open_separator(engine, device="cuda:1").backend
    for batch in (1, 1, 2, 2):
        np.testing.assert_array_equal(backend.run(mixture(batch))[:, 0], 0.5 * mixture(batch))
    assert onnxruntime.bound_runs == 4
    assert onnxruntime.memory == 2 * [("cuda", 1)] + 2 * [("cuda", 1)]  # once for each shape


def test_the_cpu_and_tensorrt_run_without_it(onnxruntime, plugin, engine):
    for device in ("cpu", "tensorrt"):
        backend = open_separator(engine, device=device).backend
        np.testing.assert_array_equal(backend.run(mixture(1))[:, 0], 0.5 * mixture(1))
    assert onnxruntime.memory == [] and onnxruntime.bound_runs == 0


def test_a_run_that_fails_is_one_line_and_the_next_may_succeed(onnxruntime, engine, monkeypatch):
    onnxruntime.installed = onnxruntime.start = [CUDA, CPU]
    backend = open_separator(engine, device="cuda").backend
    assert isinstance(backend, OnnxRuntimeBackend)

    def full(*args):
        raise RuntimeError("CUDA failure 2: out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(ort.OrtValue, "ortvalue_from_shape_and_type", full)
        with pytest.raises(EngineError, match=r"batch of 2 \(CUDA failure 2: out of memory\): try a smaller --batch"):
            backend.run(mixture(2))
    assert backend.run(mixture(2)).shape == (2, 1, 11, 1025, 2, 2)
