"""A strict double of TensorRT's runtime half, for both flavours, on the GPU of `cuda_double`.

Its engine gives each stem as a gain times the mixture. Names and parameters are checked against the installed bindings
in test_doubles.py; what a real context leaves undefined (no shape, no address, memory too small, a capture without a
warm-up) is an AssertionError.
"""

from __future__ import annotations

import math
from enum import Enum
from types import ModuleType

import numpy as np
from cuda_double import CudaDouble

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


class ILogger:
    class Severity(Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def __init__(self):
        self.is_logger = True


class IRuntimeConfig:
    __slots__ = ("cuda_graph_strategy",)


class IExecutionContext:
    def __init__(self, engine):
        self._engine, self._shape, self._addresses, self._warm = engine, None, {}, False

    def set_tensor_address(self, name, memory):
        assert name in self._engine._shapes, f"{name} is no tensor of this engine"
        self._engine._cuda.device_array(memory, 0)
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name, shape):
        assert name == "mixture" and isinstance(shape, tuple)
        assert not self._engine._cuda.is_under_way("network"), "a shape set while the context is at work on another"
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        if len(shape) != len(least) or not all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
            self._engine._log("shape out of the profile's range")
            return False
        self._shape, self._warm = shape, False
        return True

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
        if self._engine._fails:
            self._engine._log("execution failed")
            return False
        shape, gains, addresses = self._shape, self._engine._gains, dict(self._addresses)
        size = math.prod(shape)

        def network():
            assert self._shape == shape, "a graph replayed after its context took another shape"
            mixture = cuda.device_array(addresses["mixture"], size).reshape(shape)
            stems = cuda.device_array(addresses["stems"], size * len(gains))
            stems[:] = np.stack([np.float32(gain) * mixture for gain in gains], axis=1).reshape(-1)

        cuda.device_array(addresses["mixture"], size)
        cuda.device_array(addresses["stems"], size * len(gains))
        cuda.enqueue(stream_handle, network)
        self._warm = True
        return True


class ICudaEngine:
    def __init__(self, cuda, manifest, gains, logger, fails=False):
        self._cuda, self._manifest, self._gains, self._logger, self._fails = cuda, manifest, gains, logger, fails
        self._shapes = {
            each.name: tuple(-1 if isinstance(size, str) else size for size in each.shape)
            for each in (manifest.input, manifest.output)
        }
        self._configs = []
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
        return [(getattr(batch, at), getattr(frames, at), *rest) for at in ("min", "opt", "max")]

    def create_runtime_config(self):
        self._configs.append(IRuntimeConfig())
        return self._configs[-1]

    def create_execution_context(self, runtime_config=None):
        assert (runtime_config is None) == (self._manifest.plan.flavour == "tensorrt")
        assert runtime_config is None or runtime_config in self._configs
        self.contexts += 1
        if self._cuda._memory == 0:
            self._log("out of memory")
            return None
        return IExecutionContext(self)


class Runtime:
    """`make_engine` is set by the module double."""

    def __init__(self, logger):
        assert logger.is_logger, "a logger whose base class was not initialised"
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        assert isinstance(serialized_engine, bytes)
        return self.make_engine(self._logger)


def tensorrt_double(manifest: Manifest, cuda: CudaDouble, gains=(0.5,), version="1.7.1.116", change=None) -> ModuleType:
    """A module whose runtime opens the engine of `manifest`; `change` may spoil that engine, or return None for it."""
    module = ModuleType("tensorrt_double")
    made = []

    class OfThisEngine(Runtime):
        def make_engine(self, logger):
            engine = ICudaEngine(cuda, manifest, gains, logger)
            made.append(engine)
            return change(engine) if change else engine

    module.__version__ = version
    module.engines = made
    module.ILogger, module.Runtime = ILogger, OfThisEngine
    module.TensorIOMode, module.DataType = TensorIOMode, DataType
    if manifest.plan.flavour == "tensorrt-rtx":
        module.CudaGraphStrategy = CudaGraphStrategy
    return module
