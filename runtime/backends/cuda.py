"""The parts of CUDA that a plan needs, through cuda-python: memory, copies, streams, events, graphs."""

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
    """Streams on GPU `index` and the memory used on them. `close` releases everything.

    `stream` computes; `up` and `down` copy from and to the host meanwhile, as GPUs have engines of their own for that.
    They run side by side: what one needs of another it must be told to `wait_for`.
    """

    def __init__(self, index: int = 0) -> None:
        self._cudart: Any = load_cudart()
        self._index = index
        self._undo: list[tuple[str, Any]] = []  # (function, argument) to release each resource
        self._streams: list[Any] = []
        self.use()
        self.up, self.stream, self.down = (self._new_stream() for _ in range(3))

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

    def _new_stream(self) -> Any:
        # Non-blocking: it does not wait for CUDA's default stream, which libraries use.
        stream = self._take("cudaStreamCreateWithFlags", self._cudart.cudaStreamNonBlocking, "cudaStreamDestroy")
        self._streams.append(stream)
        return stream

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
        """Copy `size` bytes on the stream `up`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", device.address, host.address, size, kind, self.up)

    def within_device(self, target: Memory, source: Memory, size: int) -> None:
        """Copy `size` bytes on the stream that computes."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self.call("cudaMemcpyAsync", target.address, source.address, size, kind, self.stream)

    def to_host(self, host: Memory, device: Memory, size: int) -> None:
        """Copy `size` bytes on the stream `down`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", host.address, device.address, size, kind, self.down)

    def record(self, event: Any, stream: Any) -> None:
        """The event comes when all that `stream` has been given so far is done."""
        self.call("cudaEventRecord", event, stream)

    def wait_for(self, event: Any, stream: Any) -> None:
        """What `stream` is given from here on runs after the event."""
        self.call("cudaStreamWaitEvent", stream, event, 0)

    def wait(self, event: Any) -> None:
        """Wait here for the event."""
        self.call("cudaEventSynchronize", event)

    def synchronize(self) -> None:
        """Wait here for all streams."""
        for stream in self._streams:
            self.call("cudaStreamSynchronize", stream)

    def begin_capture(self) -> None:
        self.call(
            "cudaStreamBeginCapture", self.stream, self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
        )

    def end_capture(self) -> Any:
        """The work put on `stream` since `begin_capture`, as a graph that can be launched."""
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
        """Wait for all streams, release everything, then raise the first EngineError that occurred."""
        undo, self._undo = self._undo, []
        failures = []
        waits = [("cudaStreamSynchronize", stream) for stream in self._streams]
        steps = [("cudaSetDevice", self._index), *waits, *reversed(undo)]
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
        """Hold at least `size` bytes. If it must grow, it waits for all streams, and its content is lost.

        Raises GpuMemoryError if there is no room.
        """
        if size <= self.size:
            return
        address, self.address, self.size = self.address, 0, 0
        if address:
            self._cuda.synchronize()  # a stream may still use it
            self._cuda._give_back(self._give_back, address)
        self.address = int(self._cuda._take(self._take, size, self._give_back))
        self.size = size

    def floats(self, count: int) -> Float:
        """The first `count` float32 values of page-locked memory."""
        return np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.address))
