"""From a PyTorch network to an ONNX model of standard operators."""

from __future__ import annotations

import copy
import gc
from collections.abc import Sequence

import onnx

from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.precision import to_precision
from export.describe import tensors_of
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
from export.graph.waves import add_inverse, add_stft
from runtime.engine.manifest import INPUT_NAME, OUTPUT_NAME, Range, Tensor, length_of

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
    io: str = "spectrum",
) -> onnx.ModelProto:
    """`model` as a graph from `mixture` to `stems`, each as `runtime.engine.manifest.item_shape` says for `io`.

    `probes` are further outputs (see runtime.engine.manifest.probe_tensors). Input and outputs are float32 at any
    precision, and so are the STFT and its inverse in the form "wave". The batch is dynamic, and so are the frames
    unless `frames` allows one number only.
    """
    config = model.config
    form = prepared(model, frames, precision, scan, target).eval()
    templates = {name: template_of_part(name, form, frames, precision, bool(probes)) for name in parts_of(form)}
    gc.collect()  # what tracing leaves behind holds copies of the weights, in cycles
    length, stft = length_of(frames), config.stft
    graph = Assembly()
    mixture, stems = INPUT_NAME, OUTPUT_NAME  # of the network
    if io == "wave":
        mixture, stems = add_stft(graph, stft, INPUT_NAME, config.channels), "stem_spectrograms"
    graph.place(templates["band_split"], form.band_split, "band_split.", [mixture], ["features"])
    layers = add_dual_path(graph, form, templates, "features", length)
    outputs = [stems, "mask"] if probes else [stems]
    graph.place(templates["masks"], Masks(form, bool(probes)), "masks.", [layers[-1], mixture], outputs)
    if io == "wave":
        fixed = length if isinstance(length, int) else None
        add_inverse(graph, stft, stems, len(config.stems), config.channels, OUTPUT_NAME, fixed)
    inside = ["features", *layers, *([mixture, stems] if io == "wave" else [])]
    for probe, name in zip(probes[1:], inside, strict=bool(probes)):
        graph.node("Cast", [name], probe.name, to=FLOAT)
    given, taken = tensors_of(config, io, frames)
    proto = graph.model([_value(given)], [_value(each) for each in (taken, *probes)])
    take_conv_weights_inside(proto)
    if scan in NODE_SCANS and config.kind != "transformer":
        proto.functions.append(scan_function(config, precision))
        if all(opset.domain != DOMAIN for opset in proto.opset_import):  # all of its nodes are inside Scan bodies
            proto.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    return proto


def _value(tensor: Tensor) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(tensor.name, FLOAT, tensor.shape)
