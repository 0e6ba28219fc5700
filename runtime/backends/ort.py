"""ONNX Runtime's module `ort`, or one line that says how to install it."""

from __future__ import annotations

from runtime.errors import EngineError

try:
    import onnxruntime as ort
except ImportError as error:
    raise EngineError(
        "ONNX Runtime is not installed: pip install 'bsmamba2[run]', or 'bsmamba2[cuda]' with an NVIDIA GPU"
    ) from error

__all__ = ["ort"]
