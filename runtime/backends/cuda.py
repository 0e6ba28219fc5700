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

FLOAT = 4  # bytes
FULL = "GPU memory is full"
MEMORY_REMEDY = "use a smaller --batch, close other programs that use the GPU, or export with a smaller --batch-max"


class GpuMemoryError(EngineError):
    """The GPU has too little free memory."""


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
    """One non-blocking stream on GPU `index` and the memory used on it. `close` releases everything."""

    def __init__(self, index: int = 0) -> None:
        self._cudart: Any = load_cudart()
        self._index = index
        self._undo: list[tuple[str, Any]] = []  # (function, argument) to release each resource
        self.use()
        self.stream = self._take("cudaStreamCreateWithFlags", self._cudart.cudaStreamNonBlocking, "cudaStreamDestroy")

    def use(self) -> None:
        """Make this GPU the current one of the calling thread: CUDA keeps that for each thread."""
        self.call("cudaSetDevice", self._index)

    def call(self, function: str, *args: Any) -> Any:
        """Call a function of the CUDA runtime and return its result. Raises EngineError if it fails."""
        error, *values = getattr(self._cudart, function)(*args)
        if error != self._cudart.cudaError_t.cudaSuccess:
            failed = f"CUDA: {function} failed with {error.name}"
            if error == self._cudart.cudaError_t.cudaErrorMemoryAllocation:
                raise GpuMemoryError(f"{failed}: {FULL}: {MEMORY_REMEDY}")
            raise EngineError(failed)
        return values[0] if len(values) == 1 else values or None

    def _take(self, function: str, argument: Any, undo: str) -> Any:
        taken = self.call(function, argument)
        self._undo.append((undo, taken))
        return taken

    def _give_back(self, undo: str, taken: Any) -> None:
        self._undo.remove((undo, taken))
        self.call(undo, taken)

    def free_memory(self) -> int:
        """Bytes of the GPU's memory that are free."""
        free, _ = self.call("cudaMemGetInfo")
        return int(free)

    def event(self) -> Any:
        flags = self._cudart.cudaEventBlockingSync | self._cudart.cudaEventDisableTiming
        return self._take("cudaEventCreateWithFlags", flags, "cudaEventDestroy")

    def to_device(self, device: Memory, host: Memory, size: int) -> None:
        """Copy `size` bytes on the stream."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", device.address, host.address, size, kind, self.stream)

    def to_host(self, host: Memory, device: Memory, size: int) -> None:
        """Copy `size` bytes on the stream."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", host.address, device.address, size, kind, self.stream)

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
        self._give_back("cudaGraphExecDestroy", executable)

    def close(self) -> None:
        """Wait for the stream, release everything, then raise the first EngineError that occurred."""
        undo, self._undo = self._undo, []
        failures = []
        steps = [("cudaSetDevice", self._index), ("cudaStreamSynchronize", self.stream), *reversed(undo)]
        for function, taken in steps if undo else []:
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


class Memory:
    """Memory on the GPU that only grows; with `pinned`, page-locked memory of the host, whose copies are asynchronous.

    `address` is a multiple of 256, as cudaMalloc returns it, and 0 before the first `reserve`.
    """

    def __init__(self, cuda: Cuda, pinned: bool = False) -> None:
        self._cuda = cuda
        self._take, self._give_back = ("cudaMallocHost", "cudaFreeHost") if pinned else ("cudaMalloc", "cudaFree")
        self.address, self.size = 0, 0

    def reserve(self, size: int) -> None:
        """Hold at least `size` bytes. If it must grow, it waits for the stream, and its content is lost.

        Raises GpuMemoryError if there is no room.
        """
        if size <= self.size:
            return
        address, self.address, self.size = self.address, 0, 0
        if address:
            self._cuda.synchronize()  # the stream may still use it
            self._cuda._give_back(self._give_back, address)
        self.address = int(self._cuda._take(self._take, size, self._give_back))
        self.size = size

    def floats(self, count: int) -> Float:
        """The first `count` float32 values of page-locked memory."""
        return np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.address))
