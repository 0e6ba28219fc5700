"""An ONNX graph put together from templates and single nodes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, ValueInfoProto, numpy_helper
from torch import nn

from export.graph.template import Template
from export.graph.tracing import OPSET


class Assembly:
    """Nodes, in order, and initializers; tensors are known by their names. Equal initializers are stored once."""

    def __init__(self) -> None:
        self._model = onnx.helper.make_model(
            onnx.helper.make_graph([], "main_graph", [], []), opset_imports=[], ir_version=10, producer_name="bsmamba2"
        )
        self._stored: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._opsets = {"": OPSET}

    def place(
        self, template: Template, module: nn.Module, prefix: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        """Add the nodes of `template` with the weights of `module`, from `inputs` to `outputs`.

        Names inside begin with `prefix`.
        """
        names = dict(zip((*template.inputs, *template.outputs), (*inputs, *outputs), strict=True))
        for tensor in template.constants:
            names[tensor.name] = self.constant(prefix + tensor.name, numpy_helper.to_array(tensor))
        for name, array in template.weights(module).items():
            names[name] = self.constant(prefix + name, array)
        for node in template.nodes:
            copy = self._model.graph.node.add()
            copy.CopyFrom(node)
            _rename(copy, lambda name: names.get(name, prefix + name) if name else "")
        self._opsets |= template.opsets

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add one node and return the name of its output, `output`."""
        self._model.graph.node.append(onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """The name of an initializer with the values of `array`: `name`, or that of an earlier equal one."""
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        key = str(array.dtype), array.shape, hashlib.sha256(content.tobytes()).digest()
        if key not in self._stored:
            self._stored[key] = name
            self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return self._stored[key]

    def model(self, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> onnx.ModelProto:
        """The finished model; nothing can be added afterwards."""
        self._model.graph.input.extend(inputs)
        self._model.graph.output.extend(outputs)
        opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in self._opsets.items()]
        self._model.opset_import.extend(opsets)
        return self._model


def _rename(node: NodeProto, rename: Callable[[str], str]) -> None:
    """Rename all tensors of `node`, and remove what tracing noted."""
    node.name = rename(node.name)
    node.ClearField("doc_string")
    node.ClearField("metadata_props")
    node.input[:] = map(rename, node.input)
    node.output[:] = map(rename, node.output)
    for body in (attribute.g for attribute in node.attribute if attribute.HasField("g")):
        body.ClearField("value_info")
        body.ClearField("doc_string")
        body.ClearField("metadata_props")
        for value in (*body.input, *body.output):
            value.name = rename(value.name)
            value.ClearField("metadata_props")
            for size in value.type.tensor_type.shape.dim:
                size.ClearField("dim_param")  # the same symbol in another template would mean another size
        for inner in body.node:
            _rename(inner, rename)
