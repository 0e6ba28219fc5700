"""TensorRT plans, run by TensorRT 10, 11 or TensorRT-RTX on an NVIDIA GPU."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.cuda import Cuda
from runtime.backends.plan_checks import check_engine, check_gpu, check_plan, check_version
from runtime.engine.flavours import bindings, quiet_logger
from runtime.engine.manifest import Manifest
from runtime.engine.reading import rebuild_remedy
from runtime.errors import EngineError

Float = NDArray[np.float32]

SLOTS = 2  # pending batches: one on the GPU while the next is prepared or the last one is read


class TensorRtBackend:
    """One execution context with memory for its largest batch and frames, allocated once.

    `submit` only enqueues work: copies and GPU work run while the caller prepares the next batch. Full TensorRT replays
    a CUDA graph from the second batch in a row of one shape on; TensorRT-RTX manages graphs itself. `notes` says which
    features are not available. Not thread-safe.
    """

    depth = SLOTS

    def __init__(self, plan: Path, manifest: Manifest) -> None:
        made = check_plan(plan, manifest)
        gpu = check_gpu(plan, manifest)
        trt: Any = bindings(made.flavour)
        check_version(plan, manifest, str(trt.__version__))
        self.name = f"{made.flavour} {trt.__version__}, {gpu.name}"
        self.notes: list[str] = []
        self._plan, self._manifest = plan, manifest
        self._logger = quiet_logger(trt)
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._cuda = Cuda()
        try:
            self._open(trt, plan)
        except BaseException:
            with suppress(EngineError):  # the first error is the useful one
                self.close()
            raise

    def _open(self, trt: Any, plan: Path) -> None:
        manifest = self._manifest
        try:
            self._runtime = trt.Runtime(self._logger)
        except Exception as error:  # the bindings raise a TypeError if the library returns no runtime
            raise EngineError(f"TensorRT {trt.__version__} does not start ({self._logger.first()})") from error
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise EngineError(f"{plan}: cannot be opened ({self._logger.first()}): {rebuild_remedy(plan)}")
        check_engine(trt, self._engine, plan, manifest)
        self._captures = manifest.plan is not None and manifest.plan.flavour == "tensorrt"
        self._context = self._new_context(trt)
        if self._context is None:
            raise EngineError(
                f"{plan}: not enough GPU memory to run it ({self._logger.first()}): close other programs that use the "
                "GPU, or export with a smaller --batch-max"
            )
        self._largest = (manifest.batch.max, manifest.frames.max, *self._rest(manifest.input.shape, 2))
        self._taken = math.prod(self._largest)
        self._given = self._taken * len(manifest.model.stems)
        self._input, self._output = self._cuda.device_memory(self._taken), self._cuda.device_memory(self._given)
        for name, address in ((manifest.input.name, self._input), (manifest.output.name, self._output)):
            if not self._context.set_tensor_address(name, address):
                raise EngineError(
                    f"{plan}: cannot use its memory for {name} ({self._logger.first()}): {rebuild_remedy(plan)}"
                )
        self._free = [
            _Slot(self._cuda.host_memory(self._taken), self._cuda.host_memory(self._given), self._cuda.event())
            for _ in range(SLOTS)
        ]
        self._shape: tuple[int, ...] | None = None  # the context's current shape, once the network has run with it
        self._graph: Any = None  # the network as a CUDA graph of that shape

    def _new_context(self, trt: Any) -> Any:
        if self._captures:
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        try:
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        except AttributeError:
            self.notes.append(f"TensorRT-RTX {trt.__version__} does not use CUDA graphs")
        return self._engine.create_execution_context(config)

    @staticmethod
    def _rest(shape: list[int | str], first: int) -> tuple[int, ...]:
        return tuple(int(size) for size in shape[first:])

    def submit(self, mixture: Float) -> _Submitted:
        """Enqueue [b, t, f, c, 2]; `result()` of the returned object waits for its stems. Raises EngineError."""
        if self._context is None:
            raise EngineError(f"{self._plan}: is closed: open it again")
        self._check(mixture)
        if not self._free:
            raise EngineError(f"{SLOTS} batches are pending: take a result before submitting another")
        slot = self._free.pop()
        self._logger.errors.clear()  # errors from here on belong to this batch
        try:
            shape = mixture.shape
            out = (shape[0], len(self._manifest.model.stems), *shape[1:])
            slot.mixture[: mixture.size] = mixture.reshape(-1)
            self._cuda.to_device(self._input, slot.mixture, mixture.size)
            self._execute(shape, out)
            self._cuda.to_host(slot.stems, self._output, math.prod(out))
            self._cuda.record(slot.done)
        except BaseException:
            self._free.append(slot)
            raise
        return _Submitted(self, slot, out)

    def _check(self, mixture: Float) -> None:
        batch, frames = self._manifest.batch, self._manifest.frames
        shape = mixture.shape
        fits = (
            len(shape) == len(self._largest)
            and shape[2:] == self._largest[2:]
            and batch.min <= shape[0] <= batch.max
            and frames.min <= shape[1] <= frames.max
        )
        if not fits or mixture.dtype != np.float32:
            raise EngineError(
                f"got {mixture.dtype} {shape}: {self._plan.name} takes float32, a batch of {batch.min} to {batch.max}, "
                f"{frames.min} to {frames.max} frames, then {self._largest[2:]}"
            )

    def _execute(self, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
        """Enqueue the network: directly for the first batch of a shape, then as a CUDA graph."""
        if shape != self._shape:
            self._leave_shape()
            self._set_shape(shape, out)
            self._enqueue()
            self._shape = shape
            return
        if self._captures and self._graph is None:
            self._graph = self._captured()
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph)

    def _leave_shape(self) -> None:
        """Prepare the context for another shape: wait for pending work and release the graph of the old shape."""
        self._cuda.synchronize()
        self._shape = None
        if self._graph is not None:
            graph, self._graph = self._graph, None
            self._cuda.drop_graph(graph)

    def _set_shape(self, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
        names = self._manifest.input.name, self._manifest.output.name
        try:
            taken = self._context.set_input_shape(names[0], shape) and not self._context.infer_shapes()
        except RuntimeError:
            taken = False
        if not taken:
            raise EngineError(
                f"{self._plan}: does not accept the shape {shape} ({self._logger.first()}): "
                f"{rebuild_remedy(self._plan)}"
            )
        found = tuple(self._context.get_tensor_shape(names[1]))
        if found != out:
            raise EngineError(
                f"{self._plan}: returns {found} for {shape}, expected {out}: {rebuild_remedy(self._plan)}"
            )

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._cuda.stream)):
            raise EngineError(f"{self._plan}: failed to run ({self._logger.first()}): try a smaller --batch")

    def _captured(self) -> Any:
        """The network as a CUDA graph, or None and a note if it cannot be captured."""
        self._cuda.begin_capture()
        try:
            self._enqueue()
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
            return None
        return graph

    def _collect(self, slot: _Slot, shape: tuple[int, ...]) -> Float:
        if self._context is None:
            raise EngineError(f"{self._plan}: was closed before the result was taken")
        try:
            self._cuda.wait(slot.done)
            stems: Float = slot.stems[: math.prod(shape)].reshape(shape).copy()
        finally:
            self._free.append(slot)
        return stems

    def run(self, mixture: Float) -> Float:
        return self.submit(mixture).result()

    def close(self) -> None:
        """Wait for pending work and release all memory. The backend cannot be used afterwards."""
        try:
            self._cuda.close()
        finally:
            self._free = []
            self._graph = None
            self._context = self._engine = self._runtime = None

    def __enter__(self) -> TensorRtBackend:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Slot:
    """Host memory of one pending batch, and the event that marks its end."""

    def __init__(self, mixture: Float, stems: Float, done: Any) -> None:
        self.mixture, self.stems, self.done = mixture, stems, done


class _Submitted:
    def __init__(self, backend: TensorRtBackend, slot: _Slot, shape: tuple[int, ...]) -> None:
        self._backend, self._shape = backend, shape
        self._slot: _Slot | None = slot  # None once it was returned to the backend
        self._stems: Float | None = None

    def result(self) -> Float:
        """Wait for the stems [b, s, t, f, c, 2]. Raises EngineError."""
        if self._slot is not None:
            slot, self._slot = self._slot, None
            self._stems = self._backend._collect(slot, self._shape)
        if self._stems is None:
            raise EngineError("this batch failed on the GPU: submit it again")
        return self._stems
