"""A GPU is found; otherwise the reason is the right one of: no driver, one that is too old, no GPU."""

from __future__ import annotations

import sys

import pytest
from cuda import bindings
from cuda.bindings import runtime  # noqa: F401 - becomes an attribute of `bindings`
from cuda_double import CudaDouble, cudaError_t

from runtime.engine.gpu import Gpu, find_gpu


@pytest.fixture
def cuda(monkeypatch):
    """cuda-python for CUDA 13."""
    double = CudaDouble("NVIDIA L4", "8.9", others=[("NVIDIA T4", "7.5"), ("NVIDIA A100", "8.0")])
    monkeypatch.setattr(bindings, "runtime", double)
    return double


def test_a_gpu_is_found(cuda, monkeypatch):
    assert find_gpu() == (Gpu("NVIDIA L4", "8.9", 0), "")
    monkeypatch.setattr(cuda, "cudaGetDevice", lambda: (cudaError_t.cudaSuccess, 2))
    assert find_gpu() == (Gpu("NVIDIA A100", "8.0", 2), "")
    assert find_gpu(1) == (Gpu("NVIDIA T4", "7.5", 1), "")


@pytest.mark.parametrize(
    ("driver", "error", "reason"),
    [
        (0, "cudaErrorInsufficientDriver", "there is no NVIDIA driver"),
        (
            12040,
            "cudaErrorInsufficientDriver",
            "the NVIDIA driver is for CUDA 12.4, and the installed packages need CUDA 13: update the driver to r580 or "
            "later, or pip install 'bsmamba2[tensorrt-rtx-cu12]' or '[tensorrt-cu12]' in a new environment",
        ),
        (
            11080,
            "cudaErrorInsufficientDriver",
            "the NVIDIA driver is for CUDA 11.8, and the installed packages need CUDA 13: update the driver to r580 or "
            "later",
        ),
        (13000, "cudaErrorNoDevice", "there is no NVIDIA GPU (cudaErrorNoDevice)"),
        (13040, "cudaErrorIllegalAddress", "CUDA does not start (cudaErrorIllegalAddress)"),
    ],
)
@pytest.mark.parametrize("function", ["cudaGetDevice", "cudaGetDeviceProperties"])
def test_the_reason_is_told(cuda, monkeypatch, driver, error, reason, function):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cuda.driver = driver
    monkeypatch.setattr(cuda, function, lambda *args: (cudaError_t[error], None))
    assert find_gpu() == (None, reason)


def test_hidden_gpus_are_told(cuda, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setattr(cuda, "cudaGetDevice", lambda: (cudaError_t.cudaErrorNoDevice, None))
    assert find_gpu() == (None, "there is no NVIDIA GPU (cudaErrorNoDevice: CUDA_VISIBLE_DEVICES is '-1')")


def test_a_missing_cuda_python_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    gpu, reason = find_gpu()
    assert gpu is None and reason.startswith("cuda-python cannot be loaded (")
