"""What runs an engine. A backend takes `mixture` and returns `stems`, numpy to numpy, and knows nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runtime.engine.manifest import Manifest
from runtime.errors import EngineError, OptionError

Float = NDArray[np.float32]

DEVICES = ("auto", "cpu", "cuda", "tensorrt")


class Pending(Protocol):
    """A chunk on its way through an engine."""

    def result(self) -> Float:
        """Its stems [b, s, t, f, c, 2], once they are there. Raises EngineError."""
        ...


class Backend(Protocol):
    """Runs one engine."""

    name: str  # what executes it, with its version
    notes: list[str]  # what a user should know of how it runs
    depth: int  # chunks that may be under way at a time; 1: submit does all the work

    def run(self, mixture: Float) -> Float:
        """[b, t, f, c, 2] -> [b, s, t, f, c, 2]. Raises EngineError."""
        ...

    def submit(self, mixture: Float) -> Pending:
        """Start with [b, t, f, c, 2]. Raises EngineError."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


@runtime_checkable
class Probing(Protocol):
    """A backend that can give what its engine computes on the way."""

    def run_probes(self, mixture: Float) -> dict[str, Float]:
        """[b, t, f, c, 2] -> every output of the engine by name, `stems` among them. Raises EngineError."""
        ...


class Done:
    """What a backend that works at once gives for a submission."""

    def __init__(self, stems: Float) -> None:
        self._stems = stems

    def result(self) -> Float:
        return self._stems


def open_backend(engine: Path, manifest: Manifest, threads: int | None, device: str = "auto") -> Backend:
    """The backend for the engine's format, told by its suffix, on one of `DEVICES`.

    A plan runs in TensorRT, so "cuda" is as good a name for its device as "tensorrt". For an ONNX file "tensorrt" means
    ONNX Runtime's TensorRT provider. Raises EngineError unless engine and manifest agree and the device can be had.
    """
    if device not in DEVICES:
        raise OptionError(f"--device {device}: must be {', '.join(DEVICES[:-1])} or {DEVICES[-1]}")
    suffix = engine.suffix.lower()
    if threads is not None and (device in ("cuda", "tensorrt") or suffix == ".plan"):
        raise OptionError(
            f"--threads {threads}: the engine runs on a GPU and takes no CPU threads: leave --threads out"
        )
    if suffix == ".onnx":
        from runtime.backends.onnxruntime import OnnxRuntimeBackend

        backend = OnnxRuntimeBackend(
            engine, threads, device, lean=manifest.target == "gpu", precision=manifest.precision
        )
        backend.require(manifest.input, manifest.output, manifest.inside_onnx(), manifest.probes)
        return backend
    if suffix == ".plan":
        if device == "cpu":
            from runtime.backends.plan_checks import what_runs_without_gpu

            remedy = what_runs_without_gpu(engine, manifest)
            raise EngineError(f"{engine}: a TensorRT plan runs on NVIDIA GPUs only, not on device cpu: {remedy}")
        from runtime.backends.tensorrt import TensorRtBackend

        return TensorRtBackend(engine, manifest)
    raise EngineError(f"{engine}: a {engine.suffix or 'nameless'} file: expected an engine NAME.onnx or NAME.plan")
