"""From a PyTorch network to an ONNX model of standard operators."""

from __future__ import annotations

import copy
import gc
from collections.abc import Sequence

import onnx

from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.precision import to_precision
from export.graph.assembly import Assembly
from export.graph.bands import group_bands
from export.graph.custom_scan import DOMAIN, VERSION, scan_function, use_custom_scan
from export.graph.custom_scan import SCANS as NODE_SCANS
from export.graph.dual_path import add_dual_path
from export.graph.fold import fold_dual_path
from export.graph.in_turn import take_turns
from export.graph.parts import Masks, parts_of, template_of_part
from export.graph.rotary import fix_rotary
from export.graph.sliced import slice_dual_path, take_conv_weights_inside
from runtime.engine.manifest import INPUT_NAME, OUTPUT_NAME, Range, Tensor

FLOAT = onnx.TensorProto.FLOAT


def prepared(
    model: BandSplitSeparator, frames: Range, precision: str = "fp32", scan: str = "chunked", target: str = "cpu"
) -> BandSplitSeparator:
    """A copy of `model` in the form that is exported: the same function, for `frames` frames, in `precision`.

    For the target "cpu" the dual path runs slice by slice (see export.graph.sliced), and float32 Mamba2 blocks are
    folded (see export.graph.fold). For "gpu" the whole batch runs at once, and the directions of a Mamba2 block in turn
    (see export.graph.in_turn).
    """
    model = copy.deepcopy(model)
    group_bands(model)
    fix_rotary(model, frames.max)
    to_precision(model, precision)
    if scan in NODE_SCANS:
        use_custom_scan(model)
    else:
        model.use_scan(scan)
    if target == "cpu":
        if precision == "fp32" and scan == "chunked":
            fold_dual_path(model, frames)
        slice_dual_path(model)
    else:
        take_turns(model)
    return model


def to_onnx(
    model: BandSplitSeparator,
    frames: Range,
    precision: str = "fp32",
    scan: str = "chunked",
    target: str = "cpu",
    probes: Sequence[Tensor] = (),
) -> onnx.ModelProto:
    """`model` as a graph from `mixture` [batch, frames, f, c, 2] to `stems` [batch, s, frames, f, c, 2].

    `probes` are further outputs (see runtime.engine.manifest.probe_tensors). Input and outputs are float32 at any
    precision. The batch is dynamic, and so are the frames unless `frames` allows one number only.
    """
    config = model.config
    form = prepared(model, frames, precision, scan, target).eval()
    templates = {name: template_of_part(name, form, frames, precision, bool(probes)) for name in parts_of(form)}
    length = frames.opt if frames.min == frames.max else "frames"
    rest = [length, config.stft.bins, config.channels, 2]
    gc.collect()  # what tracing leaves behind holds copies of the weights, in cycles
    graph = Assembly()
    graph.place(templates["band_split"], form.band_split, "band_split.", [INPUT_NAME], ["features"])
    layers = add_dual_path(graph, form, templates, "features", length)
    outputs = [OUTPUT_NAME, "mask"] if probes else [OUTPUT_NAME]
    graph.place(templates["masks"], Masks(form, bool(probes)), "masks.", [layers[-1], INPUT_NAME], outputs)
    for probe, name in zip(probes[1:], ["features", *layers], strict=bool(probes)):
        graph.node("Cast", [name], probe.name, to=FLOAT)
    proto = graph.model(
        [onnx.helper.make_tensor_value_info(INPUT_NAME, FLOAT, ["batch", *rest])],
        [
            onnx.helper.make_tensor_value_info(OUTPUT_NAME, FLOAT, ["batch", len(config.stems), *rest]),
            *(onnx.helper.make_tensor_value_info(each.name, FLOAT, each.shape) for each in probes),
        ],
    )
    take_conv_weights_inside(proto)
    if scan in NODE_SCANS and config.kind != "transformer":
        proto.functions.append(scan_function(config, precision))
        if all(opset.domain != DOMAIN for opset in proto.opset_import):  # all of its nodes are inside Scan bodies
            proto.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    return proto
