"""A double of ONNX Runtime on a machine with GPUs. Networks really run, on its CPU; GPU memory is the CPU's."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime as ort

from runtime.backends import rtx_plugin, sessions

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
RTX = "NvTensorRTRTXExecutionProvider"
PLUGIN = f"""
__version__ = "0.5.0"
def get_ep_name(): return "{RTX}"
def get_library_path(): return "/site-packages/plugin.so"
"""


class Double:
    """What is `installed`, which providers `start`, and what was `opened`: settings by provider, best first."""

    def __init__(self) -> None:
        self.installed = [CPU]
        self.start = [CPU]
        self.printed = ""  # when a provider does not start
        self.missing: str | None = None  # a library that cannot be loaded
        self.nodes: list[tuple[str, int]] | None = None  # taken by each provider; None: all by the first
        self.gpus: list[str] = []  # numbers of those that the plugin finds
        self.registered: list[tuple[str, str]] = []
        self.refusal: str | None = None  # why the plugin's library cannot be registered
        self.opened: list[dict[str, dict[str, str]]] = []
        self.options: list[Any] = []
        self.chosen: Any = None  # GPU and settings of the plugin, given to the session's options
        self.memory: list[tuple[str, int]] = []  # kind and GPU of every tensor asked for
        self.bound_runs = 0


def make(monkeypatch: Any) -> Double:
    """Puts the double into the real module for one test, without the plugin; see `install_plugin`."""
    double = Double()
    real_session, real_value = ort.InferenceSession, ort.OrtValue.ortvalue_from_shape_and_type

    class Session:
        def __init__(self, path, sess_options=None, providers=None, provider_options=None, enable_fallback=1):
            if providers is None:  # those of the options
                gpu, settings = double.chosen
                providers, provider_options = [gpu.ep_name], [settings]
            double.opened.append(dict(zip(providers, provider_options, strict=True)))
            double.options.append(sess_options)
            if providers[0] not in double.start:
                if not enable_fallback:
                    raise RuntimeError(double.printed)
                print(double.printed)
            self._providers = [each for each in (*providers, CPU) if each in double.start]
            self._real = real_session(path, sess_options, providers=[CPU])

        def get_providers(self):
            return self._providers

        def get_provider_graph_assignment_info(self):
            nodes = [(self._providers[0], 2)] if double.nodes is None else double.nodes
            return [SimpleNamespace(ep_name=name, get_nodes=lambda n=n: [None] * n) for name, n in nodes]

        def run_with_iobinding(self, binding):
            double.bound_runs += 1
            self._real.run_with_iobinding(binding)

        def __getattr__(self, name):
            return getattr(self._real, name)

    def value(shape, element_type, device_type="cpu", device_id=0):
        double.memory.append((device_type, device_id))
        return real_value(shape, element_type)

    def register(name, library):
        if double.refusal is not None:
            raise RuntimeError(double.refusal)
        double.registered.append((name, library))

    def devices():
        return [SimpleNamespace(ep_name=RTX, ep_options={"device_id": n}) for n in double.gpus]

    def add(options, gpus, settings):
        (gpu,) = gpus  # the plugin takes one
        double.chosen = (gpu, settings)

    def load(name, mode=0):
        if double.missing is not None and (name == double.missing or double.missing != sessions.DRIVER != name):
            raise OSError(f"{double.missing}: cannot open shared object file: No such file or directory")

    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    monkeypatch.setattr(ort, "__version__", "1.31.1")
    monkeypatch.setattr(ort, "cuda_version", "13.0", raising=False)
    monkeypatch.setattr(ort, "get_available_providers", lambda: double.installed)
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("Failed to load libcublasLt.so.13"), raising=False)
    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_shape_and_type", value)
    monkeypatch.setattr(ort, "register_execution_provider_library", register, raising=False)
    monkeypatch.setattr(ort, "get_ep_devices", devices, raising=False)
    monkeypatch.setattr(ort.SessionOptions, "add_provider_for_devices", add, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(rtx_plugin, "MODULE", "no_such_plugin")
    return double


def install_plugin(monkeypatch: Any, folder: Path) -> None:
    """A package like NVIDIA's."""
    (folder / "rtx_plugin_double.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(rtx_plugin, "MODULE", "rtx_plugin_double")
