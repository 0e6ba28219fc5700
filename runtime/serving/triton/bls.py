"""The backend of a song model: it asks another model of the same Triton server to run the engine ("BLS")."""

from __future__ import annotations

import ctypes
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine.manifest import Manifest
from runtime.errors import EngineError

Float = NDArray[np.float32]

TAKEN = b"used_dltensor"
_set_name = ctypes.pythonapi.PyCapsule_SetName
_set_name.argtypes = [ctypes.py_object, ctypes.c_char_p]


def tensor_of(utils: Any, name: str, values: NDArray[Any]) -> Any:
    """A tensor of Triton's.

    By DLPack, as the conversion of arrays in Triton 24.10 and earlier is compiled for NumPy 1, and gives empty tensors
    with NumPy 2.
    """
    capsule = np.require(values, requirements=["C", "W"]).__dlpack__()  # NumPy gives away no read-only arrays
    tensor = utils.Tensor.from_dlpack(name, capsule)
    # The name that DLPack gives a capsule that was taken. Triton's is another, about which NumPy complains.
    _set_name(capsule, TAKEN)
    return tensor


def array_of(tensor: Any) -> NDArray[Any]:
    """The values of a tensor of Triton's, without a copy."""
    return np.from_dlpack(tensor)


class TritonBackend:
    """Runs chunks in the model `network`; `utils` is Triton's module `triton_python_backend_utils`."""

    def __init__(self, utils: Any, network: str, manifest: Manifest, depth: int) -> None:
        self.name = f"Triton model {network}"
        self.notes: list[str] = []
        self.depth = depth
        self._utils, self._network = utils, network
        self._input, self._output = manifest.input.name, manifest.output.name
        self._pool = ThreadPoolExecutor(depth)

    def run(self, mixture: Float) -> Float:
        utils = self._utils
        request = utils.InferenceRequest(
            model_name=self._network,
            requested_output_names=[self._output],
            inputs=[tensor_of(utils, self._input, mixture)],
            # Otherwise a network on a GPU leaves its answer there.
            preferred_memory=utils.PreferredMemory(utils.TRITONSERVER_MEMORY_CPU),
        )
        response = request.exec()
        if response.has_error():
            raise EngineError(f"{self._network}: {response.error().message()}")
        return array_of(utils.get_output_tensor_by_name(response, self._output))

    def submit(self, mixture: Float) -> Future[Float]:
        return self._pool.submit(self.run, mixture)

    def close(self) -> None:
        self._pool.shutdown()
