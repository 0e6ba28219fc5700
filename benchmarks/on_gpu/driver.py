"""A kernel given as PTX, loaded and launched by the CUDA driver: cuda-bindings and nothing else."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

STATIC_SHARED = 48 << 10  # bytes of shared memory that a block gets without being asked for


class DriverError(Exception):
    """A call of the driver failed."""


def load_driver() -> Any:
    from cuda.bindings import driver

    return driver


class PtxKernel:
    """The function `entry` of `ptx` in the current context. A block has `threads` threads, `shared` bytes of memory.

    Raises DriverError.
    """

    def __init__(self, ptx: str, entry: str, threads: int, shared: int, driver: Any = None) -> None:
        self._driver = load_driver() if driver is None else driver
        self._threads, self._shared = threads, shared
        image = ctypes.create_string_buffer(ptx.encode())  # ends with a zero byte, as the driver expects
        self._module = self._call("cuModuleLoadData", ctypes.addressof(image))
        self._function = self._call("cuModuleGetFunction", self._module, entry.encode())
        if shared > STATIC_SHARED:
            attribute = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call("cuFuncSetAttribute", self._function, attribute, shared)

    def launch(self, blocks: int, stream: int, before: Sequence[int], integers: Sequence[int], after: int) -> None:
        """Enqueue it on `stream` with the arguments: pointers, 32-bit integers, one more pointer."""
        values = [np.array([each], np.uint64) for each in before]
        values += [np.array([each], np.int32) for each in integers]
        values.append(np.array([after], np.uint64))
        addresses = np.array([each.ctypes.data for each in values], np.uint64)
        where = self._driver.CUstream(stream)
        grid, block = (blocks, 1, 1), (self._threads, 1, 1)
        self._call("cuLaunchKernel", self._function, *grid, *block, self._shared, where, addresses.ctypes.data, 0)

    def _call(self, function: str, *args: Any) -> Any:
        error, *values = getattr(self._driver, function)(*args)
        if error != self._driver.CUresult.CUDA_SUCCESS:
            raise DriverError(f"{function} failed with {error.name}")
        return values[0] if values else None
