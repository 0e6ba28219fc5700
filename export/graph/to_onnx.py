"""From a PyTorch network to an ONNX model of standard operators."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass

from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.precision import to_precision
from export.graph.bands import group_bands
from export.graph.custom_scan import DOMAIN, VERSION, scan_function, use_custom_scan
from export.graph.fold import fold_dual_path
from export.graph.probed import Probed
from export.graph.rotary import fix_rotary
from export.graph.sliced import slice_dual_path, take_conv_weights_inside
from export.graph.tracing import traced
from runtime.engine.manifest import INPUT_NAME, OUTPUT_NAME, Range


def prepared(
    model: BandSplitSeparator, frames: Range, precision: str = "fp32", scan: str = "chunked", target: str = "cpu"
) -> BandSplitSeparator:
    """A copy of `model` in the form that is exported: the same function, for `frames` frames, in `precision`.

    For the target "cpu" the dual path runs slice by slice (see export.graph.sliced), and float32 Mamba2 blocks are
    folded (see export.graph.fold); for "gpu" the whole batch runs at once.
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
        if precision == "fp32" and scan == "chunked":
            fold_dual_path(model, frames)
        slice_dual_path(model)
    return model


def to_onnx(
    model: BandSplitSeparator,
    frames: Range,
    precision: str = "fp32",
    scan: str = "chunked",
    target: str = "cpu",
    probes: Sequence[str] = (),
) -> onnx.ModelProto:
    """`model` as a graph from `mixture` [batch, frames, f, c, 2] to `stems` [batch, s, frames, f, c, 2].

    `probes` are the names of further outputs (see export.graph.probed). Input and outputs are float32 at any precision.
    The batch is dynamic, and so are the frames unless `frames` allows one number only.
    """
    config = model.config
    example = torch.zeros(2, frames.opt, config.stft.bins, config.channels, 2)
    dynamic = {0: torch.export.Dim("batch")}
    if frames.min < frames.max:
        dynamic[1] = torch.export.Dim("frames", min=frames.min, max=frames.max)
    form = prepared(model, frames, precision, scan, target)
    module = Probed(form) if probes else form
    program = traced(module, (example,), [INPUT_NAME], [OUTPUT_NAME, *probes], (dynamic,))
    graph = program.model
    RemoveUnusedNodesPass()(graph)
    ClearMetadataAndDocStringPass()(graph)  # they hold stack traces with paths of this machine
    graph.metadata_props.clear()
    graph.producer_name, graph.producer_version = "bsmamba2", None
    proto = ir.to_proto(graph)
    take_conv_weights_inside(proto)
    if scan == "custom" and config.kind != "transformer":
        proto.functions.append(scan_function(config, precision))
        if all(opset.domain != DOMAIN for opset in proto.opset_import):  # all of its nodes are inside Scan bodies
            proto.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    return proto
