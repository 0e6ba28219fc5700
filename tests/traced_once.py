"""Tracing a network into a graph takes seconds: each graph of a run is made once, for all its tests and workers."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import onnx

from export.graph.to_onnx import to_onnx


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds `path` against the other workers."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def traced_once(folder: Path) -> Callable[..., onnx.ModelProto]:
    """`to_onnx` that keeps its graphs in `folder`: by network, weights and form, all that a graph depends on."""

    def to_onnx_once(*args: Any, **options: Any) -> onnx.ModelProto:
        given = signature(to_onnx).bind(*args, **options)
        given.apply_defaults()
        model, *form = given.args
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
