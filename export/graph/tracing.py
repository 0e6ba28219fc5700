"""torch's ONNX exporter, with the options that all graphs here use and without its warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 20  # at 23 torch's exporter fuses norms into an operator ONNX Runtime refuses


def traced(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: Any,
    optimize: bool = True,
) -> torch.onnx.ONNXProgram:
    """`module` as an ONNX program at opset `OPSET`."""
    torch.compiler.reset()  # or a graph traced earlier, for other lengths, would be reused
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            optimize=optimize,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about optional packages and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
