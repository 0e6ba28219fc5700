"""Engines, made by making.py and run by the product's own backends: what a machine without PyTorch has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from on_gpu.measuring import CannotRun, timed
from on_gpu.work import Float, Work
from runtime.backends import Backend, open_backend
from runtime.engine.reading import read_manifest
from runtime.errors import EngineError


def name_of(work: Work, precision: str, scan: str, io: str, flavour: str = "onnx") -> Path:
    return Path(work.folder) / f"{flavour}-{precision}-{scan}-{io}" / "network"


class EngineSession:
    """A backend. Its memory is what is gone from the GPU since before it was opened."""

    def __init__(self, opened: Callable[[], Backend], on_gpu: bool) -> None:
        self._free = free_memory if on_gpu else lambda: None
        self._before = self._free()
        try:
            self._backend = opened()
        except EngineError as error:
            raise CannotRun(str(error)) from error
        self.executor = self._backend.name

    @property
    def notes(self) -> list[str]:
        return self._backend.notes

    def run(self, mixture: Float) -> Float:
        return self._backend.run(mixture)

    def queued_seconds(self, mixture: Float, rounds: int) -> list[float] | None:
        """Seconds a batch with two under way, as songs are separated; None for backends that take one at a time."""
        if self._backend.depth < 2:
            return None
        pending = [self._backend.submit(mixture)]

        def next_one() -> None:
            pending.append(self._backend.submit(mixture))
            pending.pop(0).result()

        seconds = timed(next_one, rounds + 1)[1:]
        pending.pop().result()
        return seconds

    def memory(self) -> dict[str, int]:
        now = self._free()
        return {} if self._before is None or now is None else {"memory_bytes": self._before - now}


def free_memory() -> int | None:
    """Bytes of GPU memory that are free once CUDA has started here; None without cuda-bindings."""
    try:
        from cuda.bindings import runtime as cudart
    except ImportError:
        return None
    error, free, _ = cudart.cudaMemGetInfo()
    return int(free) if error == cudart.cudaError_t.cudaSuccess else None


def onnx(work: Work, precision: str, io: str, device: str, plugin: bool = True) -> EngineSession:
    """An ONNX file in ONNX Runtime; with the device "tensorrt" in NVIDIA's `plugin` or in ONNX Runtime's own."""
    engine = name_of(work, precision, "chunked", io).with_suffix(".onnx")
    manifest = read_manifest(engine, to_open=True)
    with _chosen(plugin):
        return EngineSession(lambda: open_backend(engine, manifest, None, device), on_gpu=device != "cpu")


@contextmanager
def _chosen(plugin: bool) -> Iterator[None]:
    """The backend takes the plugin where it is installed: hide it where the other one is meant."""
    if plugin:
        yield
        return
    with patch("runtime.backends.providers.find_plugin", lambda device: None):
        yield


def plan(work: Work, precision: str, scan: str, io: str, flavour: str) -> EngineSession:
    file = name_of(work, precision, scan, io, flavour).with_suffix(".plan")
    manifest = read_manifest(file, to_open=True)
    return EngineSession(lambda: open_backend(file, manifest, None, "cuda"), on_gpu=True)
