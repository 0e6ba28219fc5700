"""A module traced once for all modules of its structure: a graph whose weights are inputs, and which takes any weights.

Tracing takes seconds to a minute, and the layers of a network differ in their weights only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_dtypes
import onnx
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from export.graph.nodes import nodes_of
from export.graph.tracing import traced

Array = NDArray[Any]


class Template(NamedTuple):
    """A traced module. The names are those of the tensors in `nodes`."""

    inputs: list[str]
    outputs: list[str]
    nodes: list[onnx.NodeProto]  # what depends on the inputs
    constants: list[onnx.TensorProto]  # the same for any weights
    of_weights: onnx.ModelProto  # the rest, evaluated for each module: from its weights to what `nodes` use
    opsets: dict[str, int]

    def weights(self, module: nn.Module) -> dict[str, Array]:
        """What `nodes` use of the weights of `module`, which has the structure of the traced one, by name."""
        given = {each.name: _array(module, each.name) for each in self.of_weights.graph.input}
        names = [each.name for each in self.of_weights.graph.output]
        made = [name for name in names if name not in given]
        results = ReferenceEvaluator(self.of_weights).run(made, given) if made else []
        found = given | dict(zip(made, results, strict=True))
        return {name: found[name] for name in names}


def template_of(
    module: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], dynamic_shapes: Any
) -> Template:
    """Trace `module`. The arguments are those of `export.graph.tracing.traced`."""
    program = traced(module, example, inputs, outputs, dynamic_shapes, optimize=False)
    graph = program.model.graph
    own = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    weights = [name for name in graph.initializers if name in own]
    for name in weights:  # unknown values stay what they are when the graph is optimised
        value = graph.initializers.pop(name)
        value.const_value = None
        graph.inputs.append(value)
    program.optimize()

    proto = program.model_proto
    constants = list(proto.graph.initializer)
    known = {*weights, *(tensor.name for tensor in constants)}
    early: list[onnx.NodeProto] = []
    nodes = _take_out(proto.graph.node, known, early)
    used = {name for node in nodes_of(nodes) for name in node.input} | set(outputs)
    types = {value.name: value for value in proto.graph.input}
    results = [name for name in (*weights, *(name for node in early for name in node.output)) if name in used]
    of_weights = onnx.helper.make_graph(
        early,
        "of_weights",
        [types[name] for name in weights],
        [onnx.ValueInfoProto(name=name) for name in results],
        constants,
    )
    return Template(
        list(inputs),
        list(outputs),
        nodes,
        [tensor for tensor in constants if tensor.name in used],
        onnx.helper.make_model(of_weights, opset_imports=proto.opset_import, ir_version=proto.ir_version),
        {opset.domain: opset.version for opset in proto.opset_import},
    )


def _take_out(nodes: Sequence[onnx.NodeProto], known: set[str], early: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """`nodes` without those that depend on `known` tensors only, which move to `early`, also from Scan bodies."""
    rest = []
    for node in nodes:
        bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        if not bodies and node.input and known.issuperset(filter(None, node.input)):
            early.append(node)
            known.update(node.output)
            continue
        for body in bodies:
            kept = _take_out(list(body.node), known, early)
            del body.node[:]
            body.node.extend(kept)
        rest.append(node)
    return rest


def _array(module: nn.Module, name: str) -> Array:
    """A parameter or buffer as an array."""
    owner, _, own = name.rpartition(".")
    tensor: Tensor = getattr(module.get_submodule(owner), own).detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    array: Array = tensor.numpy()
    return array
