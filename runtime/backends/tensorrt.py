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

    `submit` only enqueues work: copies and GPU work run while the caller prepares the next batch. The copies of one
    batch from and to the host run beside the network of the other. Full TensorRT replays a CUDA graph from the second
    batch in a row of one shape on; TensorRT-RTX manages graphs itself. `notes` says which features are not available.
    Threads may take turns with it, but not use it at the same time.
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

    def lend(self, shape: tuple[int, ...]) -> Float:
        """Page-locked memory of the slot that the next `submit` takes."""
        self._require_slot()
        slot = self._free[-1]
        slot.mixture.reserve(FLOAT * math.prod(shape))
        return slot.mixture.floats(math.prod(shape)).reshape(shape)

    def submit(self, mixture: Float) -> _Submitted:
        """Enqueue `mixture`; `result()` of the returned object waits for its stems. Raises EngineError."""
        context = self._require_slot()
        batch, frames = size_of(mixture, self._manifest, self._plan.name)
        slot = self._free.pop()
        context.forget_errors()
        try:
            shape = mixture.shape
            out = self._manifest.output_shape(batch, frames)
            taken, given = FLOAT * mixture.size, FLOAT * math.prod(out)
            is_new = shape != self._shape
            try:
                if is_new:
                    self._take_shape(context, shape, out)
                slot.reserve(taken, given)
            except GpuMemoryError as error:
                raise EngineError(
                    f"{self._plan}: {FULL}: a batch of {batch} with {frames} frames does not fit into the "
                    f"{self._cuda.free_memory() / 1e9:.2f} GB that are free: {MEMORY_REMEDY}"
                ) from error
            if mixture.ctypes.data != slot.mixture.address:  # it is not in the memory that was lent
                slot.mixture.floats(mixture.size)[:] = mixture.reshape(-1)
            self._enqueue(context, slot, taken, given, is_new)
            self._shape = shape
        except BaseException:
            self._take_back(slot)
            raise
        return _Submitted(self, slot, out)

    def _require_slot(self) -> PlanContext:
        """The context, where a batch may be submitted."""
        if self._context is None:
            raise EngineError(f"{self._plan}: is closed: open it again")
        if not self._free:
            raise EngineError(f"{SLOTS} batches are pending: take a result before submitting another")
        self._cuda.use()
        return self._context

    def _enqueue(self, context: PlanContext, slot: _Slot, taken: int, given: int, is_new: bool) -> None:
        """The copy up, the network and the copy down, each on its stream. Nothing of the slot is under way before.

        The network has one input and one output for all slots, to and from which copies on the GPU go: in microseconds,
        a few megabytes at terabytes a second. So one CUDA graph serves all slots, also the one that TensorRT-RTX makes
        by itself. With the addresses of the slots, each would need a graph of its own, and TensorRT-RTX be told them
        again for every batch.
        """
        cuda = self._cuda
        cuda.to_device(slot.taken, slot.mixture, taken)
        cuda.record(slot.is_up, cuda.up)
        cuda.wait_for(slot.is_up, cuda.stream)
        cuda.within_device(self._mixture, slot.taken, taken)
        self._execute(context, is_new)
        cuda.within_device(slot.given, self._stems, given)
        cuda.record(slot.is_computed, cuda.stream)
        cuda.wait_for(slot.is_computed, cuda.down)
        cuda.to_host(slot.stems, slot.given, given)
        cuda.record(slot.is_down, cuda.down)

    def _take_back(self, slot: _Slot) -> None:
        """A slot whose batch has failed. Its memory may be used again once nothing is under way."""
        self._free.append(slot)
        with suppress(EngineError):  # the first error is the useful one
            self._cuda.synchronize()

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
            self._cuda.synchronize()
            return None
        return graph

    def _collect(self, slot: _Slot, shape: tuple[int, ...]) -> Float:
        if self._context is None:
            raise EngineError(f"{self._plan}: was closed before the result was taken")
        try:
            self._cuda.use()
            self._cuda.wait(slot.is_down)
            stems: Float = slot.stems.floats(math.prod(shape)).reshape(shape).copy()
        except BaseException:
            self._take_back(slot)
            raise
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
    """Memory of one pending batch, page-locked and on the GPU, and the events that mark its way.

    `is_down` comes after all else that uses the memory, so that who has waited for it may fill the slot again.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.mixture, self.stems = Memory(cuda, pinned=True), Memory(cuda, pinned=True)
        self.taken, self.given = Memory(cuda), Memory(cuda)
        self.is_up, self.is_computed, self.is_down = (cuda.event() for _ in range(3))

    def reserve(self, taken: int, given: int) -> None:
        for each, size in ((self.mixture, taken), (self.taken, taken), (self.given, given), (self.stems, given)):
            each.reserve(size)


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
