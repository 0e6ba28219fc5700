"""Backends run engines: they take `mixture` and return `stems` as numpy arrays.

Both are spectrograms, [b, t, f, c, 2] and [b, s, t, f, c, 2], or waveforms, [b, c, samples] and [b, s, c, samples], as
the engine's manifest says (`io`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runtime.backends.device import HINTS, parse_device
from runtime.engine.content import EXPECTED
from runtime.engine.manifest import Manifest
from runtime.errors import EngineError, OptionError

Float = NDArray[np.float32]


class Pending(Protocol):
    """A batch that has been submitted to an engine."""

    def result(self) -> Float:
        """Wait for its stems. Raises EngineError."""
        ...


class Backend(Protocol):
    """Runs one engine."""

    name: str  # library, version and device that run it
    notes: list[str]  # messages for the user about how it runs
    depth: int  # batches that may be pending at a time; 1: submit does all the work

    def run(self, mixture: Float) -> Float:
        """The stems of `mixture`. Raises EngineError."""
        ...

    def submit(self, mixture: Float) -> Pending:
        """Start processing `mixture`. Raises EngineError."""
        ...

    def close(self) -> None:
        """Release its memory and handles."""
        ...


@runtime_checkable
class Lending(Protocol):
    """A backend that lends the memory from which it takes a batch, so that nothing needs to be copied there."""

    def lend(self, shape: tuple[int, ...]) -> Float:
        """Where the next batch may be put, if it has `shape`; `submit` recognizes it. Raises EngineError."""
        ...


@runtime_checkable
class Probing(Protocol):
    """A backend that can return its engine's intermediate results."""

    def run_probes(self, mixture: Float) -> dict[str, Float]:
        """Every output of the engine by name, including `stems`. Raises EngineError."""
        ...


class Done:
    """The result of a submission to a backend that works synchronously."""

    def __init__(self, stems: Float) -> None:
        self._stems = stems

    def result(self) -> Float:
        return self._stems


def open_backend(
    engine: Path, manifest: Manifest, threads: int | None, device: str = "auto", precision_hint: str | None = None
) -> Backend:
    """The backend for the engine's format, which its suffix tells, on `device` (see `parse_device`).

    A plan always runs in TensorRT, with "cuda" as with "tensorrt". An ONNX file with "tensorrt" runs in the TensorRT
    provider of ONNX Runtime. `precision_hint`, one of HINTS, is what OpenVINO computes in (None: f32). Raises
    EngineError if engine and manifest do not match or the device cannot be used, OptionError if there is no such device
    or the options do not go together.
    """
    where = parse_device(device)
    suffix = engine.suffix.lower()
    if precision_hint is not None and (where.kind != "openvino" or precision_hint not in HINTS):
        raise OptionError(f"--precision-hint {precision_hint}: must be {', '.join(HINTS)}, with --device openvino only")
    on_gpu = where.kind in ("cuda", "tensorrt") or where.processor != "CPU" or suffix == ".plan"
    if threads is not None and on_gpu:
        what = "an NPU" if where.processor == "NPU" else "a GPU"
        raise OptionError(f"--threads {threads}: the engine runs on {what}, and these are CPU threads: leave it out")
    if suffix == ".onnx" and where.kind == "openvino":
        from runtime.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(engine, manifest, where.processor, threads, precision_hint or HINTS[0])
    if suffix == ".onnx":
        from runtime.backends.onnxruntime import OnnxRuntimeBackend

        backend = OnnxRuntimeBackend(engine, threads, where, lean=manifest.target == "gpu", manifest=manifest)
        backend.require(manifest.input, manifest.output, manifest.inside_onnx(), manifest.probes)
        return backend
    if suffix == ".plan":
        if where.kind in ("cpu", "openvino"):
            from runtime.backends.plan_checks import what_runs_without_gpu

            remedy = what_runs_without_gpu(engine, manifest)
            raise EngineError(
                f"{engine}: a TensorRT plan runs on NVIDIA GPUs only, not with --device {where}: {remedy}"
            )
        from runtime.backends.tensorrt import TensorRtBackend

        return TensorRtBackend(engine, manifest, where.index)
    raise EngineError(f"{engine}: {EXPECTED}")
