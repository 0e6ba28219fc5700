"""Registers the plugin of the scan with TensorRT's real module `tensorrt.plugin` and asks it what TensorRT would ask.

python plugin_in_bindings.py MODULE, in a process of its own. The libraries behind the bindings are empty, so the
registry, and the expressions for sizes that only an engine knows, are doubles. Prints the answers as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

SIZES = {"b": 62, "l": 801, "h": 16, "p": 64, "n": 128}
SHAPES = ["blhp", "blh", "h", "bln", "bln", "h"]  # of x, dt, A, B, C, D


class Expression:
    """A double of IDimensionExpr: a size, as text and as a number."""

    def __init__(self, text: str, number: int) -> None:
        self.text, self.number = text, number

    def is_constant(self) -> bool:
        return False

    is_size_tensor = is_constant


class Builder:
    """A double of IExprBuilder."""

    def __init__(self, trt: Any) -> None:
        self.operations = trt.DimensionOperation

    def constant(self, number: int) -> Expression:
        return Expression(str(number), number)

    def operation(self, kind: Any, a: Expression, b: Expression) -> Expression:
        if kind == self.operations.SUM and b.number == 0:  # how the module copies an expression
            return a
        assert kind == self.operations.PROD, kind
        return Expression(f"{a.text} * {b.text}", a.number * b.number)


class Dims(list[Expression]):
    def __init__(self, length: int) -> None:
        super().__init__([Expression("?", 0)] * length)


class Sym:
    """A double of ISymExpr."""

    def __init__(self) -> None:
        self.type = self.dtype = self.expr = None


class Setter(dict[int, Any]):
    nbSymExprs = 0  # noqa: N815 - TensorRT's name


def main() -> None:
    trt = importlib.import_module(sys.argv[1])
    sys.modules["tensorrt"] = trt
    creators: list[Any] = []
    registry = SimpleNamespace(
        register_creator=lambda creator, namespace: creators.append(creator) or True,
        get_creator=lambda name, version, namespace: creators[-1],
    )
    trt.get_plugin_registry = lambda: registry
    trt.IDimensionExpr, trt.DimsExprs, trt.ISymExpr = Expression, Dims, Sym

    from export.plan.scan_plugin import register_scan

    register_scan(trt)
    register_scan(trt)
    (creator,) = creators
    answers = {
        "creator": [creator.plugin_namespace, creator.name, creator.plugin_version],
        "fields": [[each.name, each.type.name] for each in creator.field_names],
    }
    for precision, narrow in (("fp16", trt.DataType.HALF), ("bf16", trt.DataType.BF16)):
        for reverse in (0, 1):
            answers[f"{precision} {reverse}"] = asked(trt, creator, narrow, reverse)
    print(json.dumps(answers))


def asked(trt: Any, creator: Any, narrow: Any, reverse: int) -> dict[str, Any]:
    """What TensorRT asks a plugin for while it builds a plan, in its order."""
    # The parser gives an integer attribute of a node as one 32-bit integer.
    fields = trt.PluginFieldCollection(
        [trt.PluginField("reverse", np.array([reverse], np.int32), trt.PluginFieldType.INT32)]
    )
    request = trt.QuickPluginCreationRequest.PREFER_AOT
    plugin = creator.create_plugin("SSDScan", "bsmamba2", fields, trt.TensorRTPhase.BUILD, request)
    wide = trt.DataType.FLOAT
    types = [narrow, wide, wide, narrow, narrow, wide]
    out_types = plugin.get_output_data_types(types, [len(shape) for shape in SHAPES])
    inputs = [[Expression(axis, SIZES[axis]) for axis in shape] for shape in SHAPES]
    (out,) = plugin.get_output_shapes(inputs, [], Builder(trt))

    linear = trt.TensorFormat.LINEAR
    described = [
        dynamic(trt, kind, linear, [SIZES[axis] for axis in shape])
        for kind, shape in zip([*types, narrow], [*SHAPES, "blhp"], strict=True)
    ]
    formats = plugin.get_supported_format_combinations(described, len(SHAPES))
    plugin.configure_plugin(described[:-1], described[-1:])
    tactics = plugin.get_valid_tactics()
    plugin.set_tactic(0)
    launch, integers = SimpleNamespace(), Setter()
    plugin.get_launch_params(inputs, described, len(SHAPES), launch, integers, Builder(trt))
    entry, ptx = plugin.get_kernel([each.desc for each in described[:-1]], [described[-1].desc])
    return {
        "out": ["".join(each.text for each in out), out_types == [narrow]],
        "linear": all(each.format == linear for each in formats)
        and [each.type for each in formats] == [*types, narrow],
        "tactics": tactics,
        "launch": {name: [each.expr.text, each.expr.number] for name, each in vars(launch).items()},
        "integers": [[integers[i].expr.text, integers[i].expr.number] for i in range(integers.nbSymExprs)],
        "widths": sorted({str(each.dtype) for each in integers.values()}),
        "entry": entry,
        "ptx": ptx.decode(),
    }


def dynamic(trt: Any, kind: Any, layout: Any, sizes: list[int]) -> Any:
    out = trt.DynamicPluginTensorDesc()
    out.desc.type, out.desc.format, out.desc.dims = kind, layout, sizes
    out.min = out.opt = out.max = sizes
    return out


if __name__ == "__main__":
    main()
