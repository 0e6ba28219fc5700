"""Tracing a part of a network takes seconds: each is traced once a run, for all tests and workers."""

from __future__ import annotations

import fcntl
import hashlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx

from export.graph.parts import template_of_part
from export.graph.to_onnx import to_onnx


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds `path` against the other workers."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def traced_once(folder: Path) -> Callable[..., onnx.ModelProto]:
    """`to_onnx` that keeps what it traces in `folder`: by part, network and form. Weights are no part of it."""

    def to_onnx_once(*args: Any, **options: Any) -> onnx.ModelProto:
        given = signature(to_onnx).bind(*args, **options)
        given.apply_defaults()
        model, frames, precision, scan, target, probes, _ = given.args

        def once(name: str, *args: Any) -> Any:
            config = replace(model.config, depth=2)
            if name in ("band_split", "masks"):
                form = replace(config, kind="transformer"), frames, precision, bool(probes)
            else:
                form = replace(config, stems=("vocals",)), frames, precision, scan, target
            kept = folder / hashlib.sha256(repr((name, form)).encode()).hexdigest()
            with locked(kept.with_suffix(".lock")):
                if not kept.exists():
                    kept.with_suffix(".part").write_bytes(pickle.dumps(template_of_part(name, *args)))
                    kept.with_suffix(".part").rename(kept)
            return pickle.loads(kept.read_bytes())

        with patch("export.graph.to_onnx.template_of_part", once):
            return to_onnx(*given.args)

    return to_onnx_once
