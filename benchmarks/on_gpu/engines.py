"""Engines: ONNX files and TensorRT plans, made of the network and run by the product's own backends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from on_gpu.work import Float, Work
from on_gpu.worker import CannotRun, timed

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from export.engine import export_engine, only
from export.errors import ExportError
from export.plan.choose import Asked, plan_build
from export.plan.rebuild import rebuild_engine
from runtime.backends import Backend, open_backend
from runtime.engine.gpu import find_gpu
from runtime.engine.manifest import Parity, Range
from runtime.engine.reading import read_manifest
from runtime.errors import EngineError

# Engines are compared with PyTorch when they are measured. What bsm-export compares takes minutes of a CPU.
NOT_COMPARED = Parity("none", "none: not compared when it was made", 0.999, 0.999, 0.0, 0.999, 0.0)
COMPARISONS = {
    "export.engine.expected_stems": [],
    "export.engine.verify": NOT_COMPARED,
    "export.plan.rebuild._expected": [],
    "export.plan.checked.verify_plan": NOT_COMPARED,
}


@contextmanager
def uncompared() -> Iterator[None]:
    with ExitStack() as stack:
        for name, found in COMPARISONS.items():
            stack.enter_context(patch(name, lambda *args, _found=found, **more: _found))
        yield


def make_graph(work: Work, emit: Callable[..., None], precision: str, scan: str) -> None:
    """Write NAME.onnx and NAME.json."""
    name = _name(work, precision, scan)
    name.parent.mkdir(parents=True)
    weights = name.with_name("weights.safetensors")
    save_checkpoint(work.network(), weights)
    sizes = {"frames": only(work.frames), "batch": Range(1, 1, max(work.batches))}
    with uncompared():
        done = export_engine(
            load_checkpoint(str(weights)), name, **sizes, precision=precision, scan=scan, target="gpu"
        )
    weights.unlink()
    emit(bytes=done.engine.stat().st_size)


def make_plan(work: Work, emit: Callable[..., None], precision: str, scan: str, flavour: str) -> None:
    """Write NAME.plan into a folder of its own, with the graph that it is built from, for the GPU of this machine."""
    gpu, why_not = find_gpu()
    if gpu is None:
        raise CannotRun(why_not)
    asked = Asked(flavour, (gpu.capability,))
    try:
        plan_build(asked, precision)
    except ExportError as error:
        raise CannotRun(str(error)) from error
    name = _name(work, precision, scan, flavour)
    shutil.copytree(_name(work, precision, scan).parent, name.parent)
    with uncompared():
        done = rebuild_engine(name, asked)
    assert done.plan is not None  # noqa: S101 - it was asked for
    emit(bytes=done.plan.stat().st_size)


def _name(work: Work, precision: str, scan: str, flavour: str = "onnx") -> Path:
    return Path(work.folder) / f"{flavour}-{precision}-{scan}" / "network"


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
    """Bytes of GPU memory that are free, once CUDA has started here; None without cuda-bindings."""
    try:
        from cuda.bindings import runtime as cudart
    except ImportError:
        return None
    cudart.cudaFree(0)  # starts CUDA, whose own memory is not the network's
    error, free, _ = cudart.cudaMemGetInfo()
    return int(free) if error == cudart.cudaError_t.cudaSuccess else None


def onnx(work: Work, precision: str, device: str, plugin: bool = True) -> EngineSession:
    """An ONNX file in ONNX Runtime; with the device "tensorrt" in NVIDIA's `plugin` or in ONNX Runtime's own."""
    os.environ["BSM_CACHE"] = str(Path(work.folder) / "cache")
    engine = _name(work, precision, "chunked").with_suffix(".onnx")
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


def plan(work: Work, precision: str, scan: str, flavour: str) -> EngineSession:
    os.environ["BSM_CACHE"] = str(Path(work.folder) / "cache")
    file = _name(work, precision, scan, flavour).with_suffix(".plan")
    manifest = read_manifest(file, to_open=True)
    return EngineSession(lambda: open_backend(file, manifest, None, "cuda"), on_gpu=True)
