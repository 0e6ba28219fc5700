"""The CUDA that a plan needs, by way of cuda-python: memory, copies, a stream, events, graphs. Errors are raised."""

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
    except Exception as error:  # a library that does not fit comes as one of many exceptions
        raise EngineError(
            f"cuda-python cannot be loaded ({error}): pip install 'bsmamba2[tensorrt]' or 'bsmamba2[tensorrt-rtx]'"
        ) from error
    module: ModuleType = runtime
    return module


class Cuda:
    """One non-blocking stream and the memory used on it. Everything taken is given back by `close`."""

    def __init__(self) -> None:
        self._cudart: Any = load_cudart()
        self._undo: list[tuple[str, Any]] = []  # what gives back each thing taken, in the order they were taken
        self.stream = self._take("cudaStreamCreateWithFlags", self._cudart.cudaStreamNonBlocking, "cudaStreamDestroy")

    def call(self, function: str, *args: Any) -> Any:
        """The result of a function of the CUDA runtime. Raises EngineError unless it succeeds."""
        error, *values = getattr(self._cudart, function)(*args)
        if error != self._cudart.cudaError_t.cudaSuccess:
            remedy = ""
            if error == self._cudart.cudaError_t.cudaErrorMemoryAllocation:
                remedy = ": out of memory, close what else uses the GPU or export with a smaller --batch-max"
            raise EngineError(f"CUDA: {function} failed with {error.name}{remedy}")
        return values[0] if values else None

    def _take(self, function: str, argument: Any, undo: str) -> Any:
        taken = self.call(function, argument)
        self._undo.append((undo, taken))
        return taken

    def device_memory(self, floats: int) -> int:
        """The address of device memory for so many float32."""
        return int(self._take("cudaMalloc", 4 * floats, "cudaFree"))

    def host_memory(self, floats: int) -> Float:
        """Page-locked memory, which copies on the stream can overlap with other work: [floats]."""
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
        """What was put on the stream since `begin_capture`, ready to be launched."""
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
        """Give back what `end_capture` gave."""
        self._undo.remove(("cudaGraphExecDestroy", executable))
        self.call("cudaGraphExecDestroy", executable)

    def close(self) -> None:
        """Wait for the stream and give everything back, then raise the first EngineError met on the way."""
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
