"""Engines in ONNX form, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError
from runtime.manifest import INPUT_NAME, OUTPUT_NAME

try:
    import onnxruntime as ort
except ImportError as error:
    raise EngineError(
        "ONNX Runtime is not installed: pip install 'bsmamba2[run]', or 'bsmamba2[cuda]' with an NVIDIA GPU"
    ) from error


class OnnxRuntimeBackend:
    """One session on the CPU, with `threads` threads or, for None, one for each core."""

    def __init__(self, engine: Path, threads: int | None) -> None:
        self.name = f"onnxruntime {ort.__version__}, CPU"
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors come as exceptions; its own log would repeat them on stderr
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common root
            raise EngineError(f"{engine}: ONNX Runtime cannot open it ({_first_line(error)})") from error
        inputs = [(value.name, value.type) for value in self._session.get_inputs()]
        outputs = [(value.name, value.type) for value in self._session.get_outputs()]
        if inputs != [(INPUT_NAME, "tensor(float)")] or outputs != [(OUTPUT_NAME, "tensor(float)")]:
            raise EngineError(
                f"{engine}: takes {inputs} and gives {outputs}: expected float32 {INPUT_NAME} and {OUTPUT_NAME}"
            )

    def run(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (stems,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: np.ascontiguousarray(mixture)})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on a batch of {mixture.shape[0]} ({_first_line(error)})") from error
        out: NDArray[np.float32] = stems
        return out


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
