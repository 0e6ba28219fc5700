"""The parts of CUDA that a plan needs, through cuda-python: memory, copies, a stream, events, graphs."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError

Float = NDArray[np.float32]


def load_cudart() -> ModuleType:
    """cuda-python's bindings of the CUDA runtime. Raises EngineError."""
    try:
        from cuda.bindings import runtime
    except Exception as error:  # an unsuitable library raises one of many exceptions
        raise EngineError(
            f"cuda-python cannot be loaded ({error}): pip install 'bsmamba2[tensorrt]' or 'bsmamba2[tensorrt-rtx]'"
        ) from error
    module: ModuleType = runtime
    return module


class Cuda:
    """One non-blocking stream and the memory used on it. `close` releases everything."""

    def __init__(self) -> None:
        self._cudart: Any = load_cudart()
        self._undo: list[tuple[str, Any]] = []  # (function, argument) to release each resource
        self.stream = self._take("cudaStreamCreateWithFlags", self._cudart.cudaStreamNonBlocking, "cudaStreamDestroy")

    def call(self, function: str, *args: Any) -> Any:
        """Call a function of the CUDA runtime and return its result. Raises EngineError if it fails."""
        error, *values = getattr(self._cudart, function)(*args)
        if error != self._cudart.cudaError_t.cudaSuccess:
            remedy = ""
            if error == self._cudart.cudaError_t.cudaErrorMemoryAllocation:
                remedy = ": GPU memory is full: close other programs on the GPU, or export with a smaller --batch-max"
            raise EngineError(f"CUDA: {function} failed with {error.name}{remedy}")
        return values[0] if values else None

    def _take(self, function: str, argument: Any, undo: str) -> Any:
        taken = self.call(function, argument)
        self._undo.append((undo, taken))
        return taken

    def device_memory(self, floats: int) -> int:
        """The address of device memory for `floats` float32 values."""
        return int(self._take("cudaMalloc", 4 * floats, "cudaFree"))

    def host_memory(self, floats: int) -> Float:
        """Page-locked memory [floats], so that copies on the stream overlap with other work."""
        address = int(self._take("cudaMallocHost", 4 * floats, "cudaFreeHost"))
        return np.ctypeslib.as_array((ctypes.c_float * floats).from_address(address))

    def event(self) -> Any:
        flags = self._cudart.cudaEventBlockingSync | self._cudart.cudaEventDisableTiming
        return self._take("cudaEventCreateWithFlags", flags, "cudaEventDestroy")

    def to_device(self, device: int, host: Float, floats: int) -> None:
        """Copy on the stream."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", device, host.ctypes.data, 4 * floats, kind, self.stream)

    def to_host(self, host: Float, device: int, floats: int) -> None:
        """Copy on the stream."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", host.ctypes.data, device, 4 * floats, kind, self.stream)

    def record(self, event: Any) -> None:
        self.call("cudaEventRecord", event, self.stream)

    def wait(self, event: Any) -> None:
        self.call("cudaEventSynchronize", event)

    def synchronize(self) -> None:
        self.call("cudaStreamSynchronize", self.stream)

    def begin_capture(self) -> None:
        self.call(
            "cudaStreamBeginCapture", self.stream, self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
        )

    def end_capture(self) -> Any:
        """The work put on the stream since `begin_capture`, as a graph that can be launched."""
        graph = self.call("cudaStreamEndCapture", self.stream)
        try:
            executable = self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)
        self._undo.append(("cudaGraphExecDestroy", executable))
        return executable

    def launch(self, executable: Any) -> None:
        self.call("cudaGraphLaunch", executable, self.stream)

    def drop_graph(self, executable: Any) -> None:
        """Release a graph from `end_capture`."""
        self._undo.remove(("cudaGraphExecDestroy", executable))
        self.call("cudaGraphExecDestroy", executable)

    def close(self) -> None:
        """Wait for the stream, release everything, then raise the first EngineError that occurred."""
        undo, self._undo = self._undo, []
        failures = []
        for function, taken in [("cudaStreamSynchronize", self.stream), *reversed(undo)] if undo else []:
            try:
                self.call(function, taken)
            except EngineError as error:  # after a fault on the GPU every call fails
                failures.append(error)
        if failures:
            raise failures[0]

    def __del__(self) -> None:
        if hasattr(self, "_undo"):
            with suppress(Exception):
                self.close()
