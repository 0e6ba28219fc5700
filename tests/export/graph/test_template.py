"""A module is traced once for all modules of its structure, and graphs are put together from such templates."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from tiny import FRAMES, tiny_checkpoint

from export.graph.assembly import Assembly
from export.graph.nodes import nodes_of
from export.graph.template import template_of


class Part(torch.nn.Module):
    """Weights that are used as they are, transposed, and by a formula; a buffer; a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.scale = torch.nn.Parameter(torch.rand(3))
        self.register_buffer("table", torch.rand(3))

    def forward(self, x):
        return self.linear(x) * torch.exp(-self.scale) + self.table * torch.tensor([1.0, 2.0, 4.0])


@pytest.fixture(scope="module")
def template(tracing):
    return template_of(Part(), (torch.zeros(4, 3),), ["x"], ["y"], ({0: torch.export.Dim("n")},))


def graph_of(assembly, inputs, outputs):
    def values(names):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in names]

    made = assembly.model(values(inputs), values(outputs))
    onnx.checker.check_model(made, full_check=True)
    return made


def test_it_takes_the_weights_of_any_module(template):
    torch.manual_seed(0)
    first, second, assembly = Part(), Part(), Assembly()
    assembly.place(template, first, "first.", ["x"], ["between"])
    assembly.place(template, second, "second.", ["between"], ["y"])
    made = graph_of(assembly, ["x"], ["y"])
    x = torch.randn(7, 3)
    (y,) = ort.InferenceSession(made.SerializeToString()).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(y, second(first(x)).detach().numpy(), rtol=1e-5, atol=1e-6)
    names = {tensor.name for tensor in made.graph.initializer}
    assert {"first.scale", "second.scale"}.isdisjoint(names)  # used by a formula only, whose result is stored
    assert {"first.linear.bias", "second.linear.bias"} <= names


def test_what_depends_on_weights_only_is_computed_before(template):
    stored = set(template.weights(Part())) | {tensor.name for tensor in template.constants}
    for node in template.nodes:
        assert not stored.issuperset(node.input), node.op_type


def test_equal_initializers_are_stored_once(template):
    part, once, assembly = Part(), Assembly(), Assembly()
    once.place(template, part, "first.", ["x"], ["y"])
    assembly.place(template, part, "first.", ["x"], ["between"])
    assembly.place(template, part, "second.", ["between"], ["y"])
    stored = [len(graph_of(each, ["x"], ["y"]).graph.initializer) for each in (once, assembly)]
    assert stored[0] == stored[1] > 0
    assert assembly.constant("a", np.zeros(3, np.float32)) == "a" == assembly.constant("b", np.zeros(3, np.float32))
    assert assembly.constant("c", np.zeros((3, 1), np.float32)) == "c"
    assert assembly.constant("d", np.zeros(3, np.int32)) == "d"
    assert assembly.constant("e", np.array(0.0, np.float32)) == "e"


def test_nothing_of_the_machine_is_left_in_a_graph(tracing, tmp_path):
    made = tracing(tiny_checkpoint(tmp_path).model(), FRAMES)
    assert made.producer_name == "bsmamba2" and not made.graph.value_info and not made.graph.metadata_props
    content = made.SerializeToString()
    assert b".py" not in content and b"/home" not in content
    for node in nodes_of(made.graph.node):
        assert not node.doc_string and not node.metadata_props
        for body in (attribute.g for attribute in node.attribute if attribute.HasField("g")):
            sizes = [size for value in body.input for size in value.type.tensor_type.shape.dim]
            assert not any(size.dim_param for size in sizes)
