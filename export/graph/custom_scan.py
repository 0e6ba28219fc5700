"""`--scan custom`: every scan is one `bsmamba2::SSDScan` node, whose function body is the chunked form.

A runtime with a kernel for this operator uses it (the attributes tell TensorRT which plugin to use). Any other runtime
runs the body, which the file contains as a FunctionProto.
"""

from __future__ import annotations

from typing import Any

import onnx
import torch
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks.mamba2 import Mamba2
from bsmamba2.networks.precision import DTYPES
from bsmamba2.networks.scan import SCAN_CHUNK, chunked_scan
from export.graph.tracing import OPSET, traced

DOMAIN, NAME, VERSION = "bsmamba2", "SSDScan", 1
ATTRIBUTES: dict[str, Any] = {"chunk": SCAN_CHUNK, "plugin_namespace": DOMAIN, "plugin_version": str(VERSION)}
INPUTS, OUTPUT = ("x", "dt", "a", "b", "c"), "y"  # of bsmamba2.networks.scan


def custom_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """`chunked_scan`, or its node while a graph is traced."""
    if not torch.onnx.is_in_onnx_export():
        return chunked_scan(x, dt, a, b, c)
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{NAME}", (x, dt, a, b, c), ATTRIBUTES, dtype=x.dtype, shape=x.shape, version=VERSION
    )


def use_custom_scan(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, Mamba2):
            module.scan = custom_scan


class _Body(nn.Module):
    def forward(self, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return chunked_scan(x, dt, a, b, c)


def scan_function(config: ModelConfig, precision: str) -> onnx.FunctionProto:
    """The body of SSDScan for any batch and length, traced from `chunked_scan`."""
    narrow = DTYPES[precision]
    heads = config.dim * config.expand // config.headdim
    length = 2 * SCAN_CHUNK + 2
    example = (
        torch.zeros(3, length, heads, config.headdim, dtype=narrow),
        torch.zeros(3, length, heads),
        torch.zeros(heads),
        torch.zeros(3, length, config.d_state, dtype=narrow),
        torch.zeros(3, length, config.d_state, dtype=narrow),
    )
    sequences, positions = torch.export.Dim("sequences"), torch.export.Dim("positions")
    both = {0: sequences, 1: positions}
    program = traced(_Body(), example, INPUTS, [OUTPUT], (both, both, None, both, both))
    graph = program.model_proto.graph
    constants = [
        onnx.helper.make_node("Constant", [], [tensor.name], value=tensor, name=f"constant_{tensor.name}")
        for tensor in graph.initializer
    ]
    return onnx.helper.make_function(
        DOMAIN,
        NAME,
        INPUTS,
        [OUTPUT],
        [*constants, *graph.node],
        [onnx.helper.make_opsetid("", OPSET)],
        attributes=list(ATTRIBUTES),
    )
