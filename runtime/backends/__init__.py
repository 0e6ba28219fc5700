"""What runs an engine. A backend takes `mixture` and returns `stems`, numpy to numpy, and knows nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError
from runtime.manifest import Manifest


class Backend(Protocol):
    """Runs one engine."""

    name: str  # what executes it, with its version

    def run(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        """[b, t, f, c, 2] -> [b, s, t, f, c, 2]. Raises EngineError."""
        ...


def open_backend(engine: Path, manifest: Manifest, threads: int | None) -> Backend:
    """The backend for the engine's format, told by its suffix. Raises EngineError unless engine and manifest agree."""
    if engine.suffix.lower() == ".onnx":
        from runtime.backends.onnxruntime import OnnxRuntimeBackend

        backend = OnnxRuntimeBackend(engine, threads)
        backend.require(manifest.input, manifest.output, manifest.inside_onnx())
        return backend
    raise EngineError(f"{engine}: a {engine.suffix or 'nameless'} file: expected an engine NAME.onnx")
