"""What TensorRT makes of a plan: runtime, engine, execution context, and the memory of the shape in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.backends.cuda import MEMORY_REMEDY, Cuda, Memory
from runtime.backends.kernel_cache import KernelCache
from runtime.backends.plan_checks import check_engine, check_validity
from runtime.engine.flavours import native_logger, quiet_logger
from runtime.engine.gpu import Gpu
from runtime.engine.manifest import Manifest, Plan
from runtime.engine.reading import rebuild_remedy
from runtime.errors import EngineError

LEAST = 256  # bytes; a context without any memory does not run


class PlanContext:
    """The execution context of the plan `content`, on the current GPU. `close` must be called before `cuda` is closed.

    Memory for intermediate results is taken for the shape in use, and only grows. `notes` are messages for the user.
    """

    def __init__(self, trt: Any, content: bytes, plan: Path, manifest: Manifest, gpu: Gpu, cuda: Cuda) -> None:
        """Raises EngineError, ManifestError."""
        made = manifest.plan
        assert made is not None  # noqa: S101 - check_plan has refused a manifest without it
        self.notes: list[str] = []
        self.is_rtx = made.flavour == "tensorrt-rtx"
        self._plan, self._manifest = plan, manifest
        self._activations = Memory(cuda)
        self._cache: KernelCache | None = None
        self._config: Any = None
        self._context: Any = None
        # A plan of full TensorRT has all its kernels, so that nothing is compiled and logged in other threads: a logger
        # in Python is safe there, and keeps the messages for errors and notes.
        self._logger = native_logger(trt) if self.is_rtx else quiet_logger(trt)
        try:
            self._runtime = trt.Runtime(self._logger)
        except Exception as error:  # the bindings raise a TypeError if the library returns no runtime
            raise EngineError(f"TensorRT {trt.__version__} does not start{self.reason()}") from error
        if self.is_rtx:
            self.notes += check_validity(trt, self._runtime, content, plan, gpu)
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            reason = _why_not_opened(trt, content) if self.is_rtx else self.reason()
            remedy = MEMORY_REMEDY if "memory" in reason.lower() else rebuild_remedy(plan)
            raise EngineError(f"{plan}: cannot be opened{reason}: {remedy}")
        check_engine(trt, self._engine, plan, manifest)
        self._context = self._new_context(trt, made, gpu)
        if self._context is None:
            raise EngineError(f"{plan}: cannot be made ready{self.reason()}; GPU memory may be full: {MEMORY_REMEDY}")
        if not self.is_rtx:
            self.notes += self._logger.about_gpus()

    def _new_context(self, trt: Any, made: Plan, gpu: Gpu) -> Any:
        managed = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(self._engine, "create_runtime_config"):  # TensorRT 10.9
            return self._engine.create_execution_context(strategy=managed)
        # TensorRT keeps no reference to the configuration and the cache in it, but may use them as long as the context.
        self._config = self._engine.create_runtime_config()
        self._config.set_execution_context_allocation_strategy(managed)
        if self.is_rtx:
            self._configure_rtx(trt, made, gpu)
        return self._engine.create_execution_context(runtime_config=self._config)

    def _configure_rtx(self, trt: Any, made: Plan, gpu: Gpu) -> None:
        """What TensorRT-RTX has since 1.5 or later: graphs, kernels for each shape, and a cache of them."""
        config, release = self._config, f"TensorRT-RTX {trt.__version__}"
        try:
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        except AttributeError:
            self.notes.append(f"{release} does not use CUDA graphs")
        try:
            # Lazily, kernels for a shape are compiled in the background, and the first batches run slower ones.
            eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        except AttributeError:
            self.notes.append(f"{release} compiles the kernels of a shape while it runs: the first batches are slower")
        if not hasattr(config, "create_runtime_cache"):
            self.notes.append(f"{release} keeps no kernels: it compiles them at every start")
            return
        cache = config.create_runtime_cache()
        self._cache = KernelCache(cache, made.file.sha256 if made.file else "", gpu.name)
        config.set_runtime_cache(cache)
        if self._cache.note:
            self.notes.append(self._cache.note)

    def reason(self) -> str:
        """The first error that TensorRT has told, in parentheses. TensorRT-RTX tells none here: see `native_logger`."""
        return "" if self.is_rtx else f" ({self._logger.first()})"

    def forget_errors(self) -> None:
        """Errors from here on belong to what follows."""
        if not self.is_rtx:
            self._logger.errors.clear()

    def take_shape(self, shape: tuple[int, ...], out: tuple[int, ...], mixture: Memory, stems: Memory) -> None:
        """Prepare to run `shape` -> `out` from and to the memory of `mixture` and `stems`.

        Nothing may be under way, and no CUDA graph of another shape may be left, since all addresses may change.
        Raises EngineError, and GpuMemoryError if there is no room.
        """
        names = self._manifest.input.name, self._manifest.output.name
        try:
            taken = self._context.set_input_shape(names[0], shape) and not self._context.infer_shapes()
        except RuntimeError:
            taken = False
        if not taken:
            raise EngineError(
                f"{self._plan}: does not accept the shape {shape}{self.reason()}: {rebuild_remedy(self._plan)}"
            )
        found = tuple(self._context.get_tensor_shape(names[1]))
        if found != out:
            raise EngineError(
                f"{self._plan}: returns {found} for {shape}, expected {out}: {rebuild_remedy(self._plan)}"
            )
        self._activations.reserve(max(LEAST, self._context.update_device_memory_size_for_shapes()))
        self._context.set_device_memory(self._activations.address, self._activations.size)
        for name, memory in zip(names, (mixture, stems), strict=True):
            if not self._context.set_tensor_address(name, memory.address):
                raise EngineError(
                    f"{self._plan}: cannot use its memory for {name}{self.reason()}: {rebuild_remedy(self._plan)}"
                )

    def enqueue(self, stream: int) -> None:
        """Put the network on `stream`. Raises EngineError."""
        if not self._context.execute_async_v3(stream):
            raise EngineError(f"{self._plan}: failed to run{self.reason()}: try a smaller --batch")

    def close(self) -> None:
        """Keep new kernels, then drop everything in the order in which it depends on each other.

        All streams must have been waited for. TensorRT's objects are deleted when the last reference to them is.
        """
        if self._cache is not None:
            before = self._cache.note
            self._cache.save()
            if self._cache.note != before:
                self.notes.append(self._cache.note)
            self._cache = None
        self._context = None
        self._config = None
        self._engine = None
        self._runtime = None


def _why_not_opened(trt: Any, content: bytes) -> str:
    """The error of TensorRT-RTX for a plan that it does not open: it is opened again with a logger that keeps it.

    No context is made, so no kernels are compiled, which is why `native_logger` is used otherwise.
    """
    logger = quiet_logger(trt)
    trt.Runtime(logger).deserialize_cuda_engine(content)
    return f" ({logger.first()})"
