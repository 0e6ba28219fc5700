"""Makes the engines: ONNX files and TensorRT plans, by the product's own export, without its comparisons."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from export.engine import export_engine, only
from export.errors import ExportError
from export.files import Exported
from export.plan.choose import Asked, Build, plan_build
from export.plan.rebuild import rebuild_engine
from on_gpu.engines import name_of
from on_gpu.measuring import CannotRun
from on_gpu.work import Work
from runtime.engine.gpu import find_gpu
from runtime.engine.manifest import Parity, Range

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


def make_graph(work: Work, emit: Callable[..., None], precision: str, scan: str, io: str) -> None:
    """Write NAME.onnx and NAME.json."""
    done = _exported(work, name_of(work, precision, scan, io), precision, scan, io)
    emit(bytes=done.engine.stat().st_size)


def make_plan(work: Work, emit: Callable[..., None], precision: str, scan: str, io: str, flavour: str) -> None:
    """Write NAME.plan into a folder of its own, with the graph that it is built from, for the GPU of this machine.

    The graph is made before, by `make_graph`, but with the scan "plugin", of which there is none without its plan.
    """
    gpu, why_not = find_gpu()
    if gpu is None:
        raise CannotRun(why_not)
    asked = Asked(flavour, (gpu.capability,))
    try:
        build = plan_build(asked, precision, scan)
    except ExportError as error:
        raise CannotRun(str(error)) from error
    name = name_of(work, precision, scan, io, flavour)
    if scan == "plugin":
        done = _exported(work, name, precision, scan, io, build)
    else:
        shutil.copytree(name_of(work, precision, scan, io).parent, name.parent)
        with uncompared():
            done = rebuild_engine(name, asked)
    assert done.plan is not None  # noqa: S101 - it was asked for
    emit(bytes=done.plan.stat().st_size)


def _exported(work: Work, name: Path, precision: str, scan: str, io: str, build: Build | None = None) -> Exported:
    name.parent.mkdir(parents=True)
    weights = name.with_name("weights.safetensors")
    save_checkpoint(work.network(), weights)
    frames, batch = only(work.frames), Range(1, 1, max(work.batches))
    with uncompared():
        return export_engine(
            load_checkpoint(str(weights)),
            name,
            frames=frames,
            batch=batch,
            precision=precision,
            scan=scan,
            target="gpu",
            io=io,
            build=build,
        )
