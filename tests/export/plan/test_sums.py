"""How the products of a plan accumulate, as the plans that the real TensorRT-RTX builds say."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.plan import build as build_module
from export.plan.build import build_plan
from export.plan.choose import Asked, plan_build

SIZE = 512
TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def graph_of(precision, path):
    """Two products with weights, one of them of reshaped weights, and one of activations, all in `precision`."""
    narrow = TYPES[precision]
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(narrow)
    weights = [numpy_helper.from_array(rng.random((SIZE, SIZE)).astype(dtype), name) for name in "vw"]
    shape = numpy_helper.from_array(np.array([1, SIZE, SIZE]), "shape")
    nodes = [
        helper.make_node("Cast", ["mixture"], ["x"], to=narrow),
        helper.make_node("MatMul", ["x", "v"], ["first"]),
        helper.make_node("Relu", ["first"], ["positive"]),
        helper.make_node("Reshape", ["w", "shape"], ["reshaped"]),
        helper.make_node("MatMul", ["positive", "reshaped"], ["second"]),
        helper.make_node("Transpose", ["second"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Relu", ["turned"], ["more"]),
        helper.make_node("MatMul", ["positive", "more"], ["third"]),
        helper.make_node("Cast", ["third"], ["stems"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("mixture", TensorProto.FLOAT, ["batch", SIZE, SIZE])],
        [helper.make_tensor_value_info("stems", TensorProto.FLOAT, ["batch", SIZE, SIZE])],
        [*weights, shape],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def sums(plan):
    return Counter(int(kind) for kind in re.findall(rb"accumulation_type=(\d+)", plan.read_bytes()))


@pytest.mark.parametrize("precision", TYPES)
def test_products_with_weights_accumulate_in_float32(tmp_path, monkeypatch, precision):
    graph, shapes = graph_of(precision, tmp_path / "x.onnx"), [(1, SIZE, SIZE)] * 3
    how = plan_build(Asked("tensorrt-rtx", ("8.9",)), precision)
    build_plan(graph, tmp_path / "x.plan", "a test", shapes, how)
    with monkeypatch.context() as patch:
        patch.setattr(build_module, "accumulate_in_float32", lambda trt, network: 0)
        build_plan(graph, tmp_path / "as_written.plan", "a test", shapes, how)
    as_written = sums(tmp_path / "as_written.plan")
    (own,) = as_written  # all products of the graph as it is written
    widened = sums(tmp_path / "x.plan")
    assert as_written[own] == 3 and widened == {own: 1, 2: 2} and own != 2
    sizes = [(tmp_path / name).stat().st_size for name in ("x.plan", "as_written.plan")]
    assert sizes[0] < 1.05 * sizes[1]  # the weights stay 16-bit
