"""Engines in ONNX form, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError, ManifestError, OptionError
from runtime.manifest import METADATA_KEY, Tensor

try:
    import onnxruntime as ort
except ImportError as error:
    raise EngineError(
        "ONNX Runtime is not installed: pip install 'bsmamba2[run]', or 'bsmamba2[cuda]' with an NVIDIA GPU"
    ) from error

MAX_THREADS = 1024


class OnnxRuntimeBackend:
    """One session on the CPU, with `threads` threads or, for None, one for each core.

    `lean` gives memory back as soon as it is free, where the intermediates are large: half the peak, a bit slower.
    """

    def __init__(self, engine: Path, threads: int | None, lean: bool = False) -> None:
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise OptionError(f"threads {threads}: expected 1 to {MAX_THREADS}")
        self.name = f"onnxruntime {ort.__version__}, CPU"
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors come as exceptions; its own log would repeat them on stderr
        options.enable_cpu_mem_arena = options.enable_mem_pattern = not lean
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common root
            raise EngineError(f"{engine}: ONNX Runtime cannot open it ({_first_line(error)})") from error
        self._engine = engine
        (self._output,) = self._tensors(self._session.get_outputs())
        (self._input,) = self._tensors(self._session.get_inputs())

    def _tensors(self, values: list[ort.NodeArg]) -> list[Tensor]:
        if len(values) != 1:
            names = [value.name for value in values]
            raise EngineError(f"{self._engine}: takes or gives {names}: expected one tensor in and one out")
        return [Tensor(value.name, value.type, list(value.shape)) for value in values]

    def require(self, mixture: Tensor, stems: Tensor, manifest_copy: str) -> None:
        """Raise EngineError unless the engine has the input and output its manifest says, and carries that manifest."""
        for found, expected in ((self._input, mixture), (self._output, stems)):
            if found != Tensor(expected.name, "tensor(float)", expected.shape):
                raise EngineError(
                    f"{self._engine}: has {found.name} {found.dtype} {found.shape}, its manifest says {expected.name} "
                    f"{expected.dtype} {expected.shape}: export the engine again with bsm-export"
                )
        inside = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if inside != manifest_copy:
            raise ManifestError(
                f"{self._engine}: its manifest is not the one it was exported with: it was edited or mixed up with "
                "another; export the engine again with bsm-export"
            )

    def run(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (stems,) = self._session.run([self._output.name], {self._input.name: np.ascontiguousarray(mixture)})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on a batch of {mixture.shape[0]} ({_first_line(error)})") from error
        out: NDArray[np.float32] = stems
        return out


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
