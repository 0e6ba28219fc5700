"""`--scan custom` and `--scan plugin`: every scan is one `bsmamba2::SSDScan` node with the chunked form as its body.

A runtime with a kernel for this operator uses it: TensorRT, if the plugin that the attributes name is registered. Any
other runtime runs the body, which the file contains as a FunctionProto.

Version 2 of the node: inputs x [b, l, h, p], dt [b, l, h], A [h], B and C [b, l, n], D [h]; output y [b, l, h, p], the
scan plus D x; with the attribute `reverse` 1 from the last position to the first. dt, A and D are float32.
"""

from __future__ import annotations

from typing import Any

import onnx
import torch
from onnx import AttributeProto, NodeProto, TensorProto, helper
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks.mamba2 import Mamba2
from bsmamba2.networks.precision import DTYPES
from bsmamba2.networks.scan import SCAN_CHUNK, Form, chunked_scan, depthwise_conv
from export.graph.tracing import OPSET, traced

SCANS = ("custom", "plugin")  # forms of the scan that are this node
DOMAIN, NAME, VERSION = "bsmamba2", "SSDScan", 2
# TensorRT looks a plugin up by namespace, name and version. The version of those defined in Python is always 1.
ATTRIBUTES: dict[str, Any] = {"chunk": SCAN_CHUNK, "plugin_namespace": DOMAIN, "plugin_version": "1"}
REVERSE = "reverse"
INPUTS, OUTPUT = ("x", "dt", "a", "b", "c", "d"), "y"
ALONG_POSITIONS = ("x", "dt", "b", "c")  # what is flipped
MOST = 2**63 - 1


def custom_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, reverse: bool = False) -> Tensor:
    """The node while a graph is traced, otherwise what it computes."""
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::{NAME}",
            (x, dt, a, b, c, d),
            ATTRIBUTES | {REVERSE: int(reverse)},
            dtype=x.dtype,
            shape=x.shape,
            version=VERSION,
        )
    if reverse:
        return custom_scan(x.flip(1), dt.flip(1), a, b.flip(1), c.flip(1), d).flip(1)
    return chunked_scan(x, dt, a, b, c) + (d[:, None] * x).to(x.dtype)


def use_custom_scan(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, Mamba2):
            module.form = Form(custom_scan, depthwise_conv, is_whole=True)


class _Body(nn.Module):
    def forward(self, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return chunked_scan(x, dt, a, b, c) + (d[:, None] * x).to(x.dtype)


def scan_function(config: ModelConfig, precision: str) -> onnx.FunctionProto:
    """The body of SSDScan for any batch and length, traced from `chunked_scan`, between two steps that may flip."""
    narrow = DTYPES[precision]
    heads = config.dim * config.expand // config.headdim
    length = 2 * SCAN_CHUNK + 2
    example = (
        torch.zeros(3, length, heads, config.headdim, dtype=narrow),
        torch.zeros(3, length, heads),
        torch.zeros(heads),
        torch.zeros(3, length, config.d_state, dtype=narrow),
        torch.zeros(3, length, config.d_state, dtype=narrow),
        torch.zeros(heads),
    )
    sequences, positions = torch.export.Dim("sequences"), torch.export.Dim("positions")
    both = {0: sequences, 1: positions}
    inside = [f"{name}_ahead" if name in ALONG_POSITIONS else name for name in INPUTS]
    program = traced(_Body(), example, inside, [f"{OUTPUT}_ahead"], (both, both, None, both, both, None))
    graph = program.model_proto.graph
    constants = [
        helper.make_node("Constant", [], [tensor.name], value=tensor, name=f"constant_{tensor.name}")
        for tensor in graph.initializer
    ]
    return helper.make_function(
        DOMAIN,
        NAME,
        INPUTS,
        [OUTPUT],
        [
            *_slice_of_direction(),
            *(_in_direction(name, f"{name}_ahead") for name in ALONG_POSITIONS),
            *constants,
            *graph.node,
            _in_direction(f"{OUTPUT}_ahead", OUTPUT),
        ],
        [helper.make_opsetid("", OPSET)],
        attributes=[*ATTRIBUTES, REVERSE],
    )


def _slice_of_direction() -> list[NodeProto]:
    """start, end and step of a slice of all positions: 0, MOST and 1, or with `reverse` -1, -MOST and -1."""
    reverse = helper.make_node("Constant", [], ["reverse"], name="reverse")
    reverse.attribute.append(AttributeProto(name="value_int", type=AttributeProto.INT, ref_attr_name=REVERSE))
    numbers = {"one": 1, "two": 2, "most": MOST}
    return [
        reverse,
        *(
            helper.make_node(
                "Constant", [], [name], name=name, value=helper.make_tensor(name, TensorProto.INT64, [1], [n])
            )
            for name, n in numbers.items()
        ),
        helper.make_node("Mul", ["reverse", "two"], ["twice"], name="twice"),
        helper.make_node("Sub", ["one", "twice"], ["step"], name="step"),
        helper.make_node("Mul", ["step", "most"], ["end"], name="end"),
        helper.make_node("Sub", ["reverse", "twice"], ["start"], name="start"),
    ]


def _in_direction(name: str, out: str) -> NodeProto:
    return helper.make_node("Slice", [name, "start", "end", "one", "step"], [out], name=out)
