"""From a PyTorch network to an ONNX model of standard operators."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass

from bsmamba2.model import BandSplitSeparator
from bsmamba2.precision import to_precision
from export.bands import group_bands
from export.custom_scan import scan_function, use_custom_scan
from export.rotary import fix_rotary
from export.sliced import slice_dual_path
from runtime.manifest import INPUT_NAME, OUTPUT_NAME, Range

OPSET = 20  # at 23 torch's exporter fuses norms into an operator ONNX Runtime refuses


def prepared(
    model: BandSplitSeparator, frames: Range, precision: str = "fp32", scan: str = "chunked", target: str = "cpu"
) -> BandSplitSeparator:
    """A copy of `model` in the form that is exported: the same function, for so many `frames`, in `precision`.

    For the target "cpu" the dual path runs slice by slice (see export.sliced); on a "gpu" the whole batch at once.
    """
    model = copy.deepcopy(model)
    group_bands(model)
    fix_rotary(model, frames.max)
    to_precision(model, precision)
    if scan == "custom":
        use_custom_scan(model)
    else:
        model.use_scan(scan)
    if target == "cpu":
        slice_dual_path(model)
    return model


def to_onnx(
    model: BandSplitSeparator, frames: Range, precision: str = "fp32", scan: str = "chunked", target: str = "cpu"
) -> onnx.ModelProto:
    """`model` as a graph from `mixture` [batch, frames, f, c, 2] to `stems` [batch, s, frames, f, c, 2].

    Both are float32 at any precision. The batch is dynamic; so are the frames unless `frames` allows one number only.
    """
    config = model.config
    example = torch.zeros(2, frames.opt, config.stft.bins, config.channels, 2)
    dynamic = {0: torch.export.Dim("batch")}
    if frames.min < frames.max:
        dynamic[1] = torch.export.Dim("frames", min=frames.min, max=frames.max)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            prepared(model, frames, precision, scan, target),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=(dynamic,),
        )
        function = (
            scan_function(config, precision, OPSET) if scan == "custom" and config.kind != "transformer" else None
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    graph = program.model
    RemoveUnusedNodesPass()(graph)
    ClearMetadataAndDocStringPass()(graph)  # stack traces of the machine it was made on
    graph.metadata_props.clear()
    graph.producer_name, graph.producer_version = "bsmamba2", None
    proto = ir.to_proto(graph)
    if function is not None:
        proto.functions.append(function)
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not needed and on its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
