"""Input and output of a session in GPU memory that is kept from run to run, through ONNX Runtime's IOBinding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.ort import ort

Float = NDArray[np.float32]


class GpuMemory:
    """Memory on GPU `index` for the input `mixture` and the output `stems` of a session, for the shape of the last run.

    Copies are from and to pageable memory: ONNX Runtime 1.31 offers no page-locked memory for its CUDA provider.
    """

    def __init__(self, session: Any, mixture: str, stems: str, index: int, kind: str = "cuda") -> None:
        self._session, self._mixture, self._stems = session, mixture, stems
        self._where = (kind, index)
        self._shape: tuple[int, ...] | None = None

    def run(self, mixture: Float, shape: tuple[int, ...]) -> Float:
        """The stems of `mixture`, of `shape`. Raises ONNX Runtime's exceptions."""
        if mixture.shape != self._shape:
            self._bind(mixture.shape, shape)
        self._given.update_inplace(np.ascontiguousarray(mixture))
        self._session.run_with_iobinding(self._binding)
        stems: Float = self._taken.numpy()  # a copy, as it comes from the GPU
        return stems

    def _bind(self, given: tuple[int, ...], taken: tuple[int, ...]) -> None:
        self._shape = None
        self._given = ort.OrtValue.ortvalue_from_shape_and_type(given, np.float32, *self._where)
        self._taken = ort.OrtValue.ortvalue_from_shape_and_type(taken, np.float32, *self._where)
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(self._mixture, self._given)
        self._binding.bind_ortvalue_output(self._stems, self._taken)
        self._shape = given
