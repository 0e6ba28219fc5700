# ruff: noqa: N801, N802, N803, N815 - the names are CUDA's
"""A strict double of the CUDA runtime as cuda-python gives it: GPUs whose work is done only when waited for.

Copies and kernels wait on their streams until the host waits for them, and streams wait for each other only where they
are told to (see cuda_order.py); until then the host memory that copies write to holds NaN. What CUDA leaves undefined
(memory freed or too small, used by two streams at a time, an event never recorded, work still under way at the end) is
an AssertionError here. Names and parameters are checked against the installed bindings in test_doubles.py.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from enum import Enum
from types import SimpleNamespace
from weakref import WeakSet

import numpy as np
from cuda_order import Mark, Order, Use

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
    cudaMemcpyDeviceToDevice = 3


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
        self._order = Order()
        self._recorded: dict[Handle, Mark] = {}
        self._captured: list[Use] | None = None
        self._captured_on = 0  # stream
        self._graphs: dict[Handle, list[Use]] = {}
        self._next = 0x1000
        self.calls: list[str] = []  # names, in order
        self.no_capture = False
        self.driver = 13000  # 1000 * major + 10 * minor of its CUDA; 0: there is none

    # what tests ask it

    def leaks(self) -> list[str]:
        memory = [f"device {a:#x}" for a in self._device] + [f"host {a:#x}" for a in self._host]
        return memory + [handle.kind for handle in self._handles]

    def device_array(self, address: int, floats: int) -> np.ndarray:
        assert address in self._device, f"device memory {address:#x} is not allocated"
        memory = self._device[address]
        assert floats <= memory.size, f"{floats} floats of device memory that holds {memory.size}"
        return memory[:floats]

    def enqueue(self, stream: int, use: Use) -> None:
        """What TensorRT does."""
        self._on(stream)
        self._put(stream, use)

    def _put(self, stream: int, use: Use) -> None:
        if self.is_capturing and int(stream) == self._captured_on:
            self._captured.append(use)
        else:
            self._order.put(int(stream), use)

    def is_under_way(self) -> bool:
        """Whether any work waits on a stream."""
        return bool(self._order.names())

    def count_under_way(self, name: str) -> int:
        """How much work by a function of this name waits on streams."""
        return self._order.names().count(name)

    @property
    def is_capturing(self) -> bool:
        return self._captured is not None

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
        assert not self.is_under_way(), f"{kind} destroyed while work is under way"
        self._handles.remove(handle)
        return (OK,)

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
        stream = self._handle("stream")
        self._order.add(int(stream))
        return OK, stream

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
        assert not self.is_under_way(), "device memory freed while work is under way"
        del self._device[devPtr]
        self._order.forget(devPtr)
        return (OK,)

    def cudaMallocHost(self, size):
        memory = (ctypes.c_float * (size // 4))(*([float("nan")] * (size // 4)))
        self._host[ctypes.addressof(memory)] = memory
        return OK, ctypes.addressof(memory)

    def cudaFreeHost(self, ptr):
        assert ptr in self._host, "host memory freed twice, or never allocated"
        assert not self.is_under_way(), "host memory freed while work is under way"
        del self._host[ptr]
        self._order.forget(ptr)
        return (OK,)

    def cudaEventCreateWithFlags(self, flags):
        return OK, self._handle("event")

    def cudaEventDestroy(self, event):
        return self._drop(event, "event")

    def cudaMemcpyAsync(self, dst, src, count, kind, stream):
        self.calls.append("cudaMemcpyAsync")
        self._on(stream)
        target, source = (self._copied(each, count) for each in (dst, src))
        assert (dst in self._device, src in self._device) == {
            cudaMemcpyKind.cudaMemcpyHostToDevice: (True, False),
            cudaMemcpyKind.cudaMemcpyDeviceToHost: (False, True),
            cudaMemcpyKind.cudaMemcpyDeviceToDevice: (True, True),
        }[kind], f"{kind.name} between other memory"
        if dst in self._host:
            target[:] = np.nan
        self._put(stream, Use(lambda: np.copyto(target, source), [src], [dst]))
        return (OK,)

    def _copied(self, address: int, count: int) -> np.ndarray:
        """The memory at one end of a copy."""
        if address in self._device:
            return self.device_array(address, count // 4)
        assert address in self._host, f"{address:#x} is no device memory that is allocated, and not page-locked"
        assert count <= ctypes.sizeof(self._host[address]), "a copy beyond its host memory"
        return np.ctypeslib.as_array(self._host[address])[: count // 4]

    def cudaEventRecord(self, event, stream):
        assert event in self._handles and event.kind == "event"
        self._on(stream)
        assert not self.is_capturing, "an event recorded into a graph"
        self._recorded[event] = self._order.mark(int(stream))
        return (OK,)

    def cudaEventSynchronize(self, event):
        self._order.finish(self._mark(event))
        return (OK,)

    def cudaStreamWaitEvent(self, stream, event, flags):
        self._on(stream)
        assert flags == 0 and not self.is_capturing, "a graph that waits for an event"
        self._order.wait(int(stream), self._mark(event))
        return (OK,)

    def _mark(self, event: Handle) -> Mark:
        assert event in self._recorded and event in self._handles, "an event waited for that was never recorded"
        return self._recorded[event]

    def cudaStreamSynchronize(self, stream):
        self._on(stream)
        if self.is_capturing and int(stream) == self._captured_on:
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        self._order.finish(self._order.mark(int(stream)))
        return (OK,)

    def cudaStreamBeginCapture(self, stream, mode):
        assert not self.is_capturing and isinstance(mode, cudaStreamCaptureMode)
        self._on(stream)
        self._captured, self._captured_on = [], int(stream)
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        assert self.is_capturing and int(stream) == self._captured_on
        captured, self._captured = self._captured, None
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
        for use in self._graphs[graphExec]:
            self._put(stream, use)
        return (OK,)
