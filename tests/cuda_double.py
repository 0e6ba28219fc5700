# ruff: noqa: N801, N802, N803, N815 - the names are CUDA's
"""A strict double of the CUDA runtime as cuda-python gives it: GPUs whose work is done only when waited for.

Copies and kernels wait on the stream until it or an event behind them is synchronised; until then the host memory they
write to holds NaN. What CUDA leaves undefined (memory freed or too small, an event never recorded, work still under way
at the end) is an AssertionError here. Names and parameters are checked against the installed bindings in
test_doubles.py.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from types import SimpleNamespace
from weakref import WeakSet

import numpy as np

Work = Callable[[], None]
Others = Sequence[tuple[str, str]]


class cudaError_t(Enum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidDevice = 101
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900


class cudaMemcpyKind(Enum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(Enum):
    cudaStreamCaptureModeRelaxed = 2


OK = cudaError_t.cudaSuccess


class Handle:
    """A stream, an event or a graph, which cuda-python hands out as an object that is a number."""

    def __init__(self, kind: str, number: int, gpu: int) -> None:
        self.kind, self.number, self.gpu = kind, number, gpu

    def __int__(self) -> int:
        return self.number


class CudaDouble:
    """Stands for the module cuda.bindings.runtime. What is not here is an AttributeError."""

    cudaError_t = cudaError_t
    cudaMemcpyKind = cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode
    cudaStreamNonBlocking = 1
    cudaEventBlockingSync = 1
    cudaEventDisableTiming = 2

    def __init__(
        self, name: str = "NVIDIA Double", capability: str = "8.9", memory: int = 1 << 30, others: Others = ()
    ) -> None:
        """GPU 0, and the names and compute capabilities of the others; each has `memory` bytes."""
        self._gpus, self._memory = [(name, capability), *others], memory
        self._current = threading.local()  # GPU of each thread
        self.borrowers: WeakSet = WeakSet()  # what TensorRT runs on the stream
        self._device: dict[int, np.ndarray] = {}
        self._host: dict[int, ctypes.Array] = {}
        self._handles: list[Handle] = []
        self._queue: list[tuple[Work, object]] = []  # (work, event it stands for or None)
        self._recorded: set[Handle] = set()
        self._capturing: list[Work] | None = None
        self._graphs: dict[Handle, list[Work]] = {}
        self._next = 0x1000
        self.calls: list[str] = []  # names, in order
        self.no_capture = False
        self.driver = 13000  # 1000 * major + 10 * minor of its CUDA; 0: there is none

    # what tests ask it

    def leaks(self) -> list[str]:
        return (
            [f"device {a:#x}" for a in self._device]
            + [f"host {a:#x}" for a in self._host]
            + [handle.kind for handle in self._handles]
        )

    def device_array(self, address: int, floats: int) -> np.ndarray:
        assert address in self._device, f"device memory {address:#x} is not allocated"
        memory = self._device[address]
        assert floats <= memory.size, f"{floats} floats of device memory that holds {memory.size}"
        return memory[:floats]

    def enqueue(self, stream: int, work: Work) -> None:
        """What TensorRT does."""
        self._on(stream)
        self.put(work)

    def put(self, work: Work, event: Handle | None = None) -> None:
        if self._capturing is not None:
            self._capturing.append(work)
        else:
            self._queue.append((work, event))

    def is_under_way(self, name: str) -> bool:
        """Whether work by a function of this name waits on the stream."""
        return any(work.__name__ == name for work, _ in self._queue)

    @property
    def is_capturing(self) -> bool:
        return self._capturing is not None

    def _on(self, stream: object) -> None:
        streams = [each for each in self._handles if each.kind == "stream" and int(each) == int(stream)]
        assert streams, f"{stream} is no stream: the default one, or destroyed"
        assert streams[0].gpu == self.gpu, f"a stream of GPU {streams[0].gpu} in a thread whose GPU is {self.gpu}"

    def _handle(self, kind: str) -> Handle:
        self._next += 0x100
        self._handles.append(Handle(kind, self._next, self.gpu))
        return self._handles[-1]

    def _drop(self, handle: Handle, kind: str) -> tuple[cudaError_t]:
        assert handle in self._handles and handle.kind == kind, f"{kind} destroyed twice, or never made"
        assert not self._queue, f"{kind} destroyed while work is under way"
        self._handles.remove(handle)
        return (OK,)

    def _work(self, until: Handle | None) -> None:
        while self._queue:
            work, event = self._queue.pop(0)
            work()
            if event is not None and event is until:
                return

    @property
    def gpu(self) -> int:
        """The current GPU of the calling thread."""
        return getattr(self._current, "gpu", 0)

    # the CUDA runtime

    def cudaDriverGetVersion(self):
        return OK, self.driver

    def cudaRuntimeGetVersion(self):
        return OK, 13040

    def cudaGetDevice(self):
        return OK, self.gpu

    def cudaSetDevice(self, device):
        if device >= len(self._gpus):
            return (cudaError_t.cudaErrorInvalidDevice,)
        self._current.gpu = device
        return (OK,)

    def cudaGetDeviceProperties(self, device):
        if device >= len(self._gpus):
            return cudaError_t.cudaErrorInvalidDevice, None
        name, capability = self._gpus[device]
        major, minor = (int(part) for part in capability.split("."))
        return OK, SimpleNamespace(name=name.encode(), major=major, minor=minor)

    def cudaMemGetInfo(self):
        return OK, self._memory - sum(memory.nbytes for memory in self._device.values()), self._memory

    def cudaStreamCreateWithFlags(self, flags):
        assert flags == self.cudaStreamNonBlocking
        return OK, self._handle("stream")

    def cudaStreamDestroy(self, stream):
        assert not self.borrowers, "a stream destroyed before the execution contexts that ran on it"
        return self._drop(stream, "stream")

    def cudaMalloc(self, size):
        if size + sum(memory.nbytes for memory in self._device.values()) > self._memory:
            return cudaError_t.cudaErrorMemoryAllocation, None
        self._next += 0x100
        address, self._next = self._next, self._next + (size // 0x100) * 0x100
        self._device[address] = np.full(size // 4, np.nan, np.float32)
        return OK, address

    def cudaFree(self, devPtr):
        assert devPtr in self._device, "device memory freed twice, or never allocated"
        assert not self._queue, "device memory freed while work is under way"
        del self._device[devPtr]
        return (OK,)

    def cudaMallocHost(self, size):
        memory = (ctypes.c_float * (size // 4))(*([float("nan")] * (size // 4)))
        self._host[ctypes.addressof(memory)] = memory
        return OK, ctypes.addressof(memory)

    def cudaFreeHost(self, ptr):
        assert ptr in self._host, "host memory freed twice, or never allocated"
        assert not self._queue, "host memory freed while work is under way"
        del self._host[ptr]
        return (OK,)

    def cudaEventCreateWithFlags(self, flags):
        return OK, self._handle("event")

    def cudaEventDestroy(self, event):
        return self._drop(event, "event")

    def cudaMemcpyAsync(self, dst, src, count, kind, stream):
        self.calls.append("cudaMemcpyAsync")
        self._on(stream)
        to_device = kind is cudaMemcpyKind.cudaMemcpyHostToDevice
        device, host = (dst, src) if to_device else (src, dst)
        assert host in self._host, "a copy from or to memory that is not page-locked"
        assert count <= ctypes.sizeof(self._host[host]), "a copy beyond its host memory"
        on_device = self.device_array(device, count // 4)
        on_host = np.ctypeslib.as_array(self._host[host])[: count // 4]
        if to_device:
            self.put(lambda: np.copyto(on_device, on_host))
        else:
            on_host[:] = np.nan
            self.put(lambda: np.copyto(on_host, on_device))
        return (OK,)

    def cudaEventRecord(self, event, stream):
        assert event in self._handles and event.kind == "event"
        self._on(stream)
        self._recorded.add(event)
        self.put(lambda: None, event)
        return (OK,)

    def cudaEventSynchronize(self, event):
        assert event in self._recorded, "an event waited for that was never recorded"
        if any(each is event for _, each in self._queue):
            self._work(until=event)
        return (OK,)

    def cudaStreamSynchronize(self, stream):
        self._on(stream)
        if self.is_capturing:
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        self._work(until=None)
        return (OK,)

    def cudaStreamBeginCapture(self, stream, mode):
        assert not self.is_capturing and isinstance(mode, cudaStreamCaptureMode)
        self._on(stream)
        self._capturing = []
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        assert self.is_capturing
        captured, self._capturing = self._capturing, None
        if self.no_capture:
            return cudaError_t.cudaErrorStreamCaptureUnsupported, None
        graph = self._handle("graph")
        self._graphs[graph] = captured
        return OK, graph

    def cudaGraphInstantiate(self, graph, flags):
        executable = self._handle("graph executable")
        self._graphs[executable] = self._graphs[graph]
        return OK, executable

    def cudaGraphDestroy(self, graph):
        self._handles.remove(graph)
        del self._graphs[graph]
        return (OK,)

    def cudaGraphExecDestroy(self, graphExec):
        self._graphs.pop(graphExec, None)
        return self._drop(graphExec, "graph executable")

    def cudaGraphLaunch(self, graphExec, stream):
        self.calls.append("cudaGraphLaunch")
        assert graphExec in self._handles and graphExec.kind == "graph executable"
        self._on(stream)
        for work in self._graphs[graphExec]:
            self.put(work)
        return (OK,)
