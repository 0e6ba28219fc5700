"""The GPU providers of ONNX Runtime, and what each is told: its GPU, float32 without TF32, caches, sizes of the input.

Names and values of the settings are those of onnxruntime-gpu 1.31 (`strings` of its libraries) and of the header
tensorrt_rtx_provider_options.h in NVIDIA's plugin 0.5.0.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.backends.device import Device
from runtime.backends.ort import ort
from runtime.backends.rtx_plugin import PACKAGE, Plugin, find_plugin
from runtime.engine.cache_folder import cache_folder
from runtime.engine.manifest import Manifest
from runtime.errors import EngineError

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"

# onnxruntime and onnxruntime-gpu share a folder: where both were installed, only this order leaves a whole one.
REINSTALL = "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'bsmamba2[cuda]'"
TF32 = "NVIDIA_TF32_OVERRIDE"


@dataclass(frozen=True)
class Provider:
    name: str
    settings: dict[str, str]
    gpu: Any = None  # of a plugin: the OrtEpDevice to run on
    behind: dict[str, dict[str, str]] = field(default_factory=dict)  # runs the nodes it does not take, with settings
    notes: tuple[str, ...] = ()  # messages for the user


def gpu_provider(device: Device, manifest: Manifest) -> Provider:
    """The provider for `device`, "cuda" or "tensorrt". Raises EngineError if there is none."""
    if device.kind == "tensorrt":
        return _tensorrt(device, manifest)
    if CUDA not in ort.get_available_providers():
        raise EngineError(f"--device {device}: this ONNX Runtime has no {CUDA}: {REINSTALL}, or use --device cpu")
    return Provider(CUDA, _cuda_settings(device.index))


def _cuda_settings(index: int) -> dict[str, str]:
    return {
        "device_id": str(index),
        "use_tf32": "0",  # by default float32 products keep 10 of 23 bits
        # The default doubles what it reserves each time it needs more, which can be twice what an engine needs.
        "arena_extend_strategy": "kSameAsRequested",
    }


def _tensorrt(device: Device, manifest: Manifest) -> Provider:
    """NVIDIA's plugin TensorRT-RTX where it is installed, otherwise the TensorRT provider of onnxruntime-gpu."""
    notes = _without_tf32()
    plugin = find_plugin(device)
    if plugin is not None:
        return _rtx(plugin, device, manifest, notes)
    available = ort.get_available_providers()
    if TENSORRT not in available:
        raise EngineError(
            f"--device {device}: neither NVIDIA's TensorRT-RTX plugin nor {TENSORRT} is installed: pip install "
            f"'onnxruntime>=1.24' {PACKAGE} (GeForce RTX 30 and later); on other GPUs {REINSTALL} "
            f"'{tensorrt_package()}', or use --device cpu"
        )
    version = ""
    with suppress(Exception):  # this import loads TensorRT's libraries, so that ONNX Runtime finds them
        version = str(importlib.import_module("tensorrt").__version__)
    settings = {"device_id": str(device.index), **_profile(manifest, "trt")}
    cache = _cache(manifest, device, version, notes)
    if cache is not None:
        for kind in ("engine", "timing"):
            settings |= {f"trt_{kind}_cache_enable": "True", f"trt_{kind}_cache_path": str(cache)}  # "1" is refused
    behind = {CUDA: _cuda_settings(device.index)} if CUDA in available else {}
    return Provider(TENSORRT, settings, behind=behind, notes=tuple(notes))


def _rtx(plugin: Plugin, device: Device, manifest: Manifest, notes: list[str]) -> Provider:
    one_shape = manifest.batch.min == manifest.batch.max and manifest.frames.min == manifest.frames.max
    # Its CUDA graphs need the same shape in all runs.
    settings = {"enable_cuda_graph": "1" if one_shape else "0", **_profile(manifest, "nv")}
    cache = _cache(manifest, device, plugin.version, notes)
    if cache is not None:
        settings["nv_runtime_cache_path"] = str(cache)
    return Provider(plugin.name, settings, plugin.gpu, notes=tuple(notes))


def tensorrt_package() -> str:
    """The TensorRT that onnxruntime-gpu is linked with: its libraries end in .so.10."""
    major = str(getattr(ort, "cuda_version", "") or "13").split(".")[0]
    return f"tensorrt-cu{major}>=10.{13 if major == '13' else 9},<11"


def _without_tf32() -> list[str]:
    """Make TensorRT compute float32 products in float32; notes for the user if it may not.

    By default they keep 10 of 23 bits, and its providers have no setting for that. TensorRT and CUDA's libraries read
    this variable when they start, so it has to be set before.
    """
    given = os.environ.setdefault(TF32, "0")
    if given == "0":
        return []
    return [
        f"{TF32}={given} is set, so float32 products may keep 10 of 23 bits (TF32) and stems differ from PyTorch's: "
        "unset it, or set it to 0"
    ]


def _profile(manifest: Manifest, prefix: str) -> dict[str, str]:
    """The smallest, usual and largest shape of the input, such as "mixture:1x801x1025x2x2"."""
    return {
        f"{prefix}_profile_{size}_shapes": f"{manifest.input.name}:{'x'.join(map(str, shape))}"
        for size, shape in zip(("min", "opt", "max"), manifest.input_shapes, strict=True)
    }


def _cache(manifest: Manifest, device: Device, version: str, notes: list[str]) -> Path | None:
    """A folder of this engine's own; None, and a note, if there is none.

    TensorRT's provider tells engines apart by their names, not by their weights, so the folder has to.
    """
    files = [each.sha256 for each in (manifest.onnx, manifest.onnx_data) if each is not None]
    parts = [*files, ort.__version__, version, str(device.index), os.environ.get(TF32, "")]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    try:
        return cache_folder(f"onnxruntime/{key}")
    except EngineError as error:
        notes.append(f"what TensorRT builds is not kept, so each start builds it again: {error}")
        return None
