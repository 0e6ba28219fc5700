"""NVIDIA's TensorRT-RTX provider, a plugin for ONNX Runtime: package onnxruntime-ep-nv-tensorrt-rtx."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from runtime.backends.device import Device
from runtime.backends.ort import ort
from runtime.errors import EngineError

MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
PACKAGE = "onnxruntime-ep-nv-tensorrt-rtx"
DRIVERS = ("libcuda.so", "libnvidia-ml.so", "nvcuda.dll")  # part of NVIDIA's driver


@dataclass(frozen=True)
class Plugin:
    name: str  # of the provider
    version: str
    gpu: Any  # the OrtEpDevice to run on


def find_plugin(device: Device) -> Plugin | None:
    """The plugin with the GPU of `device`, or None if it is not installed. Raises EngineError if it cannot be used."""
    if importlib.util.find_spec(MODULE) is None:
        return None
    if not hasattr(ort, "register_execution_provider_library"):
        raise EngineError(
            f"--device {device}: onnxruntime {ort.__version__} is too old for {PACKAGE}: "
            "pip install 'onnxruntime>=1.24', or use --device cpu"
        )
    try:
        module: Any = importlib.import_module(MODULE)
        name = str(module.get_ep_name())
        _register(name, str(module.get_library_path()))
    except Exception as error:  # ONNX Runtime's exceptions have no common root
        raise EngineError(_cannot_be_loaded(device, error)) from error
    gpus = _gpus(name)
    if not gpus:
        raise EngineError(
            f"--device {device}: {PACKAGE} finds no GPU that it supports (compute capability 8.6, 8.9, 12.0 and "
            f"later): update NVIDIA's driver to one for CUDA 13, or install {PACKAGE}-cu12, or use --device cuda"
        )
    for gpu in gpus:
        if gpu.ep_options.get("device_id") == str(device.index):
            return Plugin(name, str(module.__version__), gpu)
    numbers = ", ".join(str(gpu.ep_options.get("device_id")) for gpu in gpus)
    raise EngineError(f"--device {device}: {PACKAGE} can use these GPUs: {numbers}: give the number of one of them")


def _gpus(name: str) -> list[Any]:
    return [each for each in ort.get_ep_devices() if each.ep_name == name]


def _register(name: str, library: str) -> None:
    if _gpus(name):
        return
    try:
        ort.register_execution_provider_library(name, library)
    except Exception as error:
        if "already" not in str(error):  # registered before, without a GPU that it supports
            raise


def _cannot_be_loaded(device: Device, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].split(" with error: ")[-1][:300]
    remedy = f"pip install --force-reinstall {PACKAGE}"
    if any(library in reason for library in DRIVERS):
        remedy = "install NVIDIA's driver"
    return f"--device {device}: {PACKAGE} cannot be loaded ({reason}): {remedy}, or use --device cpu"
