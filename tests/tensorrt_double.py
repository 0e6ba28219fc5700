"""A strict double of TensorRT's runtime half, for both flavours, on the GPU of `cuda_double`.

Its engine gives each stem as a gain times the mixture. Names and parameters are checked against the installed bindings
in test_doubles.py; what a real context leaves undefined (no shape, no address, memory too small, a capture without a
warm-up, a configuration that was deleted) is an AssertionError.
"""

from __future__ import annotations

import math
import weakref
from enum import Enum, IntEnum
from types import ModuleType

import numpy as np
from cuda_double import CudaDouble
from cuda_order import Use

from runtime.engine.manifest import Manifest


class TensorIOMode(Enum):
    INPUT = 1
    OUTPUT = 2


class DataType(Enum):
    FLOAT = 0
    HALF = 1


class CudaGraphStrategy(Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class DynamicShapesKernelSpecializationStrategy(Enum):
    LAZY = 0
    EAGER = 1


class ExecutionContextAllocationStrategy(Enum):
    STATIC = 0
    USER_MANAGED = 2


class EngineValidity(Enum):
    VALID = 0
    SUBOPTIMAL = 1
    INVALID = 2


class EngineInvalidityDiagnostics(IntEnum):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2
    OLD_CUDA_DRIVER = 4
    OLD_CUDA_RUNTIME = 8
    INSUFFICIENT_GPU_MEMORY = 16
    MALFORMED_ENGINE = 32
    CUDA_ERROR = 64


class ILogger:
    class Severity(Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def __init__(self):
        self.is_logger = True


class Logger(ILogger):
    """The bindings' own, outside Python."""

    def __init__(self, min_severity=ILogger.Severity.WARNING):
        super().__init__()
        assert min_severity is ILogger.Severity.INTERNAL_ERROR, "it would print to standard output"

    def log(self, severity, msg):
        pass


class IRuntimeCache:
    """Holds the shapes it has kernels for, behind the name of the driver that made it."""

    def __init__(self, cuda):
        self._cuda, self.kernels = cuda, set()

    def deserialize(self, blob):
        assert isinstance(blob, bytes)
        driver, _, kernels = blob.partition(b":")
        if driver != str(self._cuda.driver).encode():
            return False
        self.kernels = set(kernels.split(b";"))
        return True

    def serialize(self):
        return bytearray(str(self._cuda.driver).encode() + b":" + b";".join(sorted(self.kernels)))


class IRuntimeConfig:
    """That of full TensorRT."""

    __slots__ = ("__weakref__", "_cache", "_cuda", "_strategy")

    def __init__(self, cuda):
        self._cuda, self._strategy, self._cache = cuda, ExecutionContextAllocationStrategy.STATIC, None

    def set_execution_context_allocation_strategy(self, strategy):
        self._strategy = strategy


class RtxRuntimeConfig(IRuntimeConfig):
    __slots__ = ("cuda_graph_strategy", "dynamic_shapes_kernel_specialization_strategy")

    def create_runtime_cache(self):
        return IRuntimeCache(self._cuda)

    def set_runtime_cache(self, cache):
        self._cache = weakref.ref(cache)
        return True


class IExecutionContext:
    def __init__(self, engine, config=None):
        self._engine, self._shape, self._addresses, self._warm = engine, None, {}, False
        self._config = config and weakref.ref(config)  # the real one keeps no reference either
        self._needed, self._memory = None, None  # bytes of the shape; (address, size)

    def set_tensor_address(self, name, memory):
        assert name in self._engine._shapes, f"{name} is no tensor of this engine"
        self._engine._cuda.device_array(memory, 0)
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name, shape):
        assert name == "mixture" and isinstance(shape, tuple)
        assert not self._engine._cuda.count_under_way("network"), "a shape set while the context is at work on another"
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        if len(shape) != len(least) or not all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
            self._engine._log("shape out of the profile's range")
            return False
        self._shape, self._warm, self._needed = shape, False, None
        return True

    def update_device_memory_size_for_shapes(self):
        assert self._shape is not None, "the memory of no shape asked for"
        self._needed = self._engine.bytes_per_item * self._shape[0]
        return self._needed

    def set_device_memory(self, memory, size):
        assert memory % 256 == 0, "memory that is not aligned"
        assert self._needed is not None, "memory given before it was asked how much"
        self._engine._cuda.device_array(memory, size // 4)
        self._memory = memory, size

    def infer_shapes(self):
        return [] if self._shape is not None else ["mixture"]

    def get_tensor_shape(self, name):
        assert self._shape is not None, "shapes asked for before the input's was set"
        stems = len(self._engine._gains)
        return self._shape if name == "mixture" else (self._shape[0], stems, *self._shape[1:])

    def execute_async_v3(self, stream_handle):
        cuda = self._engine._cuda
        cuda.calls.append("execute_async_v3")
        assert isinstance(stream_handle, int), "a stream that is no number"
        assert self._shape is not None, "run before the input's shape was set"
        missing = set(self._engine._shapes) - set(self._addresses)
        assert not missing, f"run without an address for {missing}"
        assert self._warm or not cuda.is_capturing, "captured before the shape was run once"
        assert self._config is None or self._config() is not None, "the configuration is gone"
        assert self._needed is not None and self._memory is not None, "run without memory for this shape"
        assert self._memory[1] >= self._needed, "run with less memory than the shape needs"
        if self._engine._fails:
            self._engine._log("execution failed")
            return False
        shape, gains, addresses, memory = self._shape, self._engine._gains, dict(self._addresses), self._memory
        size = math.prod(shape)

        def network():
            assert self._shape == shape, "a graph replayed after its context took another shape"
            assert self._memory == memory, "a graph replayed with other memory than it was captured with"
            cuda.device_array(memory[0], memory[1] // 4)
            mixture = cuda.device_array(addresses["mixture"], size).reshape(shape)
            stems = cuda.device_array(addresses["stems"], size * len(gains))
            stems[:] = np.stack([np.float32(gain) * mixture for gain in gains], axis=1).reshape(-1)

        cuda.device_array(addresses["mixture"], size)
        cuda.device_array(addresses["stems"], size * len(gains))
        cuda.borrowers.add(self)
        if self._config is not None and self._config()._cache is not None:
            assert self._config()._cache() is not None, "the cache is gone"
            self._config()._cache().kernels.add(b"%dx%d" % shape[:2])
        written = [addresses["stems"], memory[0]]
        cuda.enqueue(stream_handle, Use(network, [addresses["mixture"]], written))
        self._warm = True
        return True


class ICudaEngine:
    def __init__(self, cuda, manifest, gains, logger, fails=False):
        self._cuda, self._manifest, self._gains, self._logger, self._fails = cuda, manifest, gains, logger, fails
        self._shapes = {
            each.name: tuple(-1 if isinstance(size, str) else size for size in each.shape)
            for each in (manifest.input, manifest.output)
        }
        self.bytes_per_item = 4096  # of memory for intermediate results
        self.is_out_of_memory = False
        self.name = manifest.inside_plan()
        self.num_io_tensors = 2
        self.dtype = DataType.FLOAT  # a test's
        self.contexts = 0

    def _log(self, message):
        self._logger.log(ILogger.Severity.ERROR, message)

    def get_tensor_name(self, index):
        return list(self._shapes)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name == "mixture" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self.dtype

    def get_tensor_shape(self, name):
        return self._shapes[name]

    def get_tensor_profile_shape(self, name, profile_index):
        assert name == "mixture" and profile_index == 0
        batch, frames, rest = self._manifest.batch, self._manifest.frames, self._shapes[name][2:]
        sizes = [(getattr(batch, at), getattr(frames, at)) for at in ("min", "opt", "max")]
        if self._manifest.io == "wave":
            hop, channels = self._manifest.stft.hop_length, self._manifest.model.channels
            return [(b, channels, hop * (t - 1)) for b, t in sizes]
        return [(b, t, *rest) for b, t in sizes]

    def create_runtime_config(self):
        is_rtx = self._manifest.plan.flavour == "tensorrt-rtx"
        return (RtxRuntimeConfig if is_rtx else IRuntimeConfig)(self._cuda)

    def create_execution_context(self, strategy=None, runtime_config=None):
        assert (strategy is None) != (runtime_config is None)
        if self._manifest.plan.flavour == "tensorrt-rtx":
            assert isinstance(self._logger, Logger), "a context of TensorRT-RTX with a logger in Python"
            self.settings = {name: getattr(runtime_config, name, None) for name in RtxRuntimeConfig.__slots__}
        self.strategy = strategy or runtime_config._strategy
        assert self.strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        self.contexts += 1
        if self.is_out_of_memory:
            self._log("out of memory")
            return None
        return IExecutionContext(self, runtime_config)


class Runtime:
    """`make_engine` is set by the module double."""

    def __init__(self, logger):
        assert logger.is_logger, "a logger whose base class was not initialised"
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        assert isinstance(serialized_engine, bytes)
        return self.make_engine(self._logger)


class RtxRuntime(Runtime):
    validity, bits = EngineValidity.VALID, 0  # a test's

    def get_engine_validity(self, buffer):
        assert isinstance(buffer, bytes)
        return self.validity, self.bits


def tensorrt_double(manifest: Manifest, cuda: CudaDouble, gains=(0.5,), version="1.7.1.116", change=None) -> ModuleType:
    """A module whose runtime opens the engine of `manifest`; `change` may spoil that engine, or return None for it."""
    is_rtx = manifest.plan.flavour == "tensorrt-rtx"
    module = ModuleType("tensorrt_rtx" if is_rtx else "tensorrt")
    made = []

    class OfThisEngine(RtxRuntime if is_rtx else Runtime):
        def make_engine(self, logger):
            engine = ICudaEngine(cuda, manifest, gains, logger)
            made.append(engine)
            return change(engine) if change else engine

    module.__version__ = version
    module.engines = made
    module.ILogger, module.Logger, module.Runtime = ILogger, Logger, OfThisEngine
    module.TensorIOMode, module.DataType = TensorIOMode, DataType
    module.ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
    if is_rtx:
        module.CudaGraphStrategy = CudaGraphStrategy
        module.DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
        module.EngineValidity, module.EngineInvalidityDiagnostics = EngineValidity, EngineInvalidityDiagnostics
    return module
