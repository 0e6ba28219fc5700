"""TensorRT plans, run by TensorRT 10, 11 or TensorRT-RTX on an NVIDIA GPU."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.cuda import FLOAT, FULL, MEMORY_REMEDY, Cuda, GpuMemoryError, Memory
from runtime.backends.plan_checks import check_gpu, check_plan, check_version
from runtime.backends.plan_context import PlanContext
from runtime.backends.sizes import size_of
from runtime.engine.flavours import runtime_bindings
from runtime.engine.manifest import Manifest
from runtime.engine.reading import read_plan
from runtime.errors import EngineError

Float = NDArray[np.float32]

SLOTS = 2  # pending batches: one on the GPU while the next is prepared or the last one is read


class TensorRtBackend:
    """One execution context on GPU `index`, with memory for the largest shape so far.

    `submit` only enqueues work: copies and GPU work run while the caller prepares the next batch. Full TensorRT replays
    a CUDA graph from the second batch in a row of one shape on; TensorRT-RTX manages graphs itself. `notes` says which
    features are not available. Threads may take turns with it, but not use it at the same time.
    """

    depth = SLOTS

    def __init__(self, plan: Path, manifest: Manifest, index: int = 0) -> None:
        content = read_plan(plan, manifest)
        made = check_plan(plan, content, manifest)
        gpu = check_gpu(plan, manifest, index)
        trt: Any = runtime_bindings(made.flavour, made.version_compatible)
        check_version(plan, manifest, str(trt.__version__))
        self.name = f"{trt.__name__.replace('_', '-')} {trt.__version__}, {gpu.name}"
        self.notes: list[str] = []
        self._plan, self._manifest = plan, manifest
        self._context: PlanContext | None = None  # None once it is closed
        self._captures = made.flavour == "tensorrt"
        self._shape: tuple[int, ...] | None = None  # the context's current shape, once the network has run with it
        self._graph: Any = None  # the network as a CUDA graph of that shape
        self._cuda = Cuda(index)
        try:
            self._context = PlanContext(trt, content, plan, manifest, gpu, self._cuda)
            self.notes = self._context.notes
            self._mixture, self._stems = Memory(self._cuda), Memory(self._cuda)
            self._free = [_Slot(self._cuda) for _ in range(SLOTS)]
        except BaseException:
            with suppress(EngineError):  # the first error is the useful one
                self.close()
            raise

    def submit(self, mixture: Float) -> _Submitted:
        """Enqueue `mixture`; `result()` of the returned object waits for its stems. Raises EngineError."""
        if self._context is None:
            raise EngineError(f"{self._plan}: is closed: open it again")
        batch, frames = size_of(mixture, self._manifest, self._plan.name)
        if not self._free:
            raise EngineError(f"{SLOTS} batches are pending: take a result before submitting another")
        self._cuda.use()
        slot = self._free.pop()
        self._context.forget_errors()
        try:
            shape = mixture.shape
            out = self._manifest.output_shape(batch, frames)
            taken, given = FLOAT * mixture.size, FLOAT * math.prod(out)
            is_new = shape != self._shape
            try:
                if is_new:
                    self._take_shape(self._context, shape, out)
                slot.reserve(taken, given)
            except GpuMemoryError as error:
                raise EngineError(
                    f"{self._plan}: {FULL}: a batch of {batch} with {frames} frames does not fit into the "
                    f"{self._cuda.free_memory() / 1e9:.2f} GB that are free: {MEMORY_REMEDY}"
                ) from error
            slot.mixture.floats(mixture.size)[:] = mixture.reshape(-1)
            self._cuda.to_device(self._mixture, slot.mixture, taken)
            self._execute(self._context, is_new)
            self._shape = shape
            self._cuda.to_host(slot.stems, self._stems, given)
            self._cuda.record(slot.done)
        except BaseException:
            self._free.append(slot)
            raise
        return _Submitted(self, slot, out)

    def _take_shape(self, context: PlanContext, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
        """Prepare for another shape: wait for pending work, release the graph of the old shape, and take memory."""
        self._leave_shape()
        self._mixture.reserve(FLOAT * math.prod(shape))
        self._stems.reserve(FLOAT * math.prod(out))
        context.take_shape(shape, out, self._mixture, self._stems)

    def _leave_shape(self) -> None:
        self._cuda.synchronize()
        self._shape = None
        if self._graph is not None:
            graph, self._graph = self._graph, None
            self._cuda.drop_graph(graph)

    def _execute(self, context: PlanContext, is_new: bool) -> None:
        """Enqueue the network: directly for the first batch of a shape, then as a CUDA graph."""
        if not is_new and self._captures and self._graph is None:
            self._graph = self._captured(context)
        if is_new or self._graph is None:
            context.enqueue(int(self._cuda.stream))
        else:
            self._cuda.launch(self._graph)

    def _captured(self, context: PlanContext) -> Any:
        """The network as a CUDA graph, or None and a note if it cannot be captured."""
        self._cuda.begin_capture()
        try:
            context.enqueue(int(self._cuda.stream))
        except EngineError as error:
            failure: EngineError | None = error
        else:
            failure = None
        try:
            graph = self._cuda.end_capture()
        except EngineError as error:
            failure = failure or error
        if failure is not None:
            self.notes.append(f"no CUDA graph: {failure}")
            self._captures = False
            context.forget_errors()
            return None
        return graph

    def _collect(self, slot: _Slot, shape: tuple[int, ...]) -> Float:
        if self._context is None:
            raise EngineError(f"{self._plan}: was closed before the result was taken")
        try:
            self._cuda.use()
            self._cuda.wait(slot.done)
            stems: Float = slot.stems.floats(math.prod(shape)).reshape(shape).copy()
        finally:
            self._free.append(slot)
        return stems

    def run(self, mixture: Float) -> Float:
        return self.submit(mixture).result()

    def close(self) -> None:
        """Wait for pending work and release all memory. The backend cannot be used afterwards."""
        context, self._context = self._context, None
        self._free = []
        try:
            if context is not None:
                with suppress(EngineError):  # after a fault on the GPU, which closing CUDA tells
                    self._cuda.use()
                    self._leave_shape()
                context.close()
        finally:
            self._cuda.close()

    def __del__(self) -> None:
        if hasattr(self, "_cuda"):
            with suppress(Exception):
                self.close()

    def __enter__(self) -> TensorRtBackend:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Slot:
    """Page-locked memory of one pending batch, and the event that marks its end."""

    def __init__(self, cuda: Cuda) -> None:
        self.mixture, self.stems = Memory(cuda, pinned=True), Memory(cuda, pinned=True)
        self.done = cuda.event()

    def reserve(self, taken: int, given: int) -> None:
        self.mixture.reserve(taken)
        self.stems.reserve(given)


class _Submitted:
    def __init__(self, backend: TensorRtBackend, slot: _Slot, shape: tuple[int, ...]) -> None:
        self._backend, self._shape = backend, shape
        self._slot: _Slot | None = slot  # None once it was returned to the backend
        self._stems: Float | None = None

    def result(self) -> Float:
        """Wait for the stems. Raises EngineError."""
        if self._slot is not None:
            slot, self._slot = self._slot, None
            self._stems = self._backend._collect(slot, self._shape)
        if self._stems is None:
            raise EngineError("this batch failed on the GPU: submit it again")
        return self._stems
