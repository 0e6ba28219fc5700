"""The backend of a song model: it asks another model of the same Triton server to run the engine ("BLS")."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine.manifest import Manifest
from runtime.errors import EngineError

Float = NDArray[np.float32]


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
            inputs=[utils.Tensor(self._input, np.ascontiguousarray(mixture))],
            # Otherwise a network on a GPU leaves its answer there.
            preferred_memory=utils.PreferredMemory(utils.TRITONSERVER_MEMORY_CPU),
        )
        response = request.exec()
        if response.has_error():
            raise EngineError(f"{self._network}: {response.error().message()}")
        stems: Float = utils.get_output_tensor_by_name(response, self._output).as_numpy()
        return stems

    def submit(self, mixture: Float) -> Future[Float]:
        return self._pool.submit(self.run, mixture)

    def close(self) -> None:
        self._pool.shutdown()
