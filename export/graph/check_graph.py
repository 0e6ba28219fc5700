"""Checks that an ONNX graph keeps the engine contract: operators, names, shapes and types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx

from export.errors import ExportError
from export.graph.custom_scan import DOMAIN, NAME, SCANS, VERSION
from export.graph.nodes import nodes_of
from export.graph.tracing import OPSET
from runtime.engine.manifest import Tensor

# Operators of the standard domain that these graphs use. Another one means that the exporter has changed: look into it.
# fmt: off
ALLOWED = frozenset(
    {
        "Add", "Cast", "Clip", "Concat", "Constant", "Conv", "CumSum", "Div", "Erf", "Exp", "Expand",
        "Flatten", "Gather", "Gelu", "Gemm", "Greater", "Identity", "MatMul", "Min", "Mul", "Neg", "Pad", "Pow",
        "Reciprocal", "ReduceMean", "ReduceSum", "Reshape", "Round", "Scan", "Shape", "Sigmoid", "Slice",
        "Softmax", "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Trilu", "Unsqueeze", "Where",
    }
)
# fmt: on


def check_graph(
    path: Path,
    mixture: Tensor,
    outputs: Sequence[Tensor],
    precision: str = "fp32",
    scan: str = "chunked",
) -> None:
    """Raise ExportError unless `path` is a valid ONNX file and keeps the engine contract at `precision`.

    `mixture` is its input; `outputs` are the stems, and the probes if there are any.
    """
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    model = onnx.load(path, load_external_data=False)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    custom = {(function.domain, function.name) for function in model.functions}
    expected = ({"": OPSET, DOMAIN: VERSION}, {(DOMAIN, NAME)}) if scan in SCANS else ({"": OPSET}, set())
    if (opsets, custom) not in (expected, ({"": OPSET}, set())):
        raise ExportError(
            f"the exported graph uses opsets {opsets} and functions {sorted(custom)}: expected {expected[0]} "
            f"and {sorted(expected[1])}"
        )
    nodes = [*nodes_of(model.graph.node), *(node for function in model.functions for node in nodes_of(function.node))]
    foreign = sorted({node.op_type for node in nodes} - ALLOWED - {name for _, name in custom})
    if foreign:
        raise ExportError(f"the exported graph uses unexpected operators: {', '.join(foreign)}")
    _check_values(model.graph.input, [mixture])
    _check_values(model.graph.output, outputs)
    types = {"fp32": (), "fp16": (onnx.TensorProto.FLOAT16,), "bf16": (onnx.TensorProto.BFLOAT16,)}[precision]
    for tensor in model.graph.initializer:
        if tensor.data_type not in (*types, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL):
            kind = onnx.TensorProto.DataType.Name(tensor.data_type)
            raise ExportError(f"the exported {precision} graph holds {tensor.name} as {kind}")


def _check_values(values: Iterable[onnx.ValueInfoProto], expected: Sequence[Tensor]) -> None:
    found = [
        (
            value.name,
            value.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
        )
        for value in values
    ]
    if found != [(tensor.name, onnx.TensorProto.FLOAT, tensor.shape) for tensor in expected]:
        wanted = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in expected)
        raise ExportError(f"the exported graph has {found}: expected float32 {wanted}, and nothing else")
