"""Tracing a network into a graph takes seconds: each graph of a run is made once, for all its tests and workers."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from bsmamba2.networks.model import BandSplitSeparator
from export.graph.to_onnx import to_onnx
from runtime.engine.manifest import Range


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds `path` against the other workers."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def traced_once(folder: Path) -> Callable[..., onnx.ModelProto]:
    """`to_onnx` that keeps its graphs in `folder`: by network, weights and form, all that a graph depends on."""

    def to_onnx_once(
        model: BandSplitSeparator,
        frames: Range,
        precision: str = "fp32",
        scan: str = "chunked",
        target: str = "cpu",
        probes: Sequence[str] = (),
    ) -> onnx.ModelProto:
        form = (frames, precision, scan, target, list(probes))
        key = hashlib.sha256(repr((model.config, form)).encode())
        for name, value in model.state_dict().items():
            key.update(name.encode() + value.numpy().tobytes())
        graph = folder / f"{key.hexdigest()}.onnx"
        with locked(graph.with_suffix(".lock")):
            if not graph.exists():
                onnx.save(to_onnx(model, *form), graph.with_suffix(".part"))
                graph.with_suffix(".part").rename(graph)
        return onnx.load(graph)

    return to_onnx_once
