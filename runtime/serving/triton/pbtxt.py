"""`config.pbtxt`: the part of Triton's ModelConfig that is used here, written in protobuf's text format.

Names and types are those of `model_config.proto` (github.com/triton-inference-server/common); a test compares them with
the message classes of the package tritonclient.
"""

from __future__ import annotations

import json
from typing import Any

Kind = str | tuple[str, ...]  # "string", "int", "bool", the values of an enum, or the name of a message

TENSOR: dict[str, Kind] = {"name": "string", "data_type": ("TYPE_FP32", "TYPE_INT32"), "dims": "int"}
SCHEMA: dict[str, dict[str, Kind]] = {
    "ModelConfig": {
        "name": "string",
        "backend": "string",
        "platform": "string",
        "default_model_filename": "string",
        "max_batch_size": "int",
        "input": "ModelInput",
        "output": "ModelOutput",
        "instance_group": "ModelInstanceGroup",
        "dynamic_batching": "ModelDynamicBatching",
        "model_transaction_policy": "ModelTransactionPolicy",
        "parameters": "ParametersEntry",
    },
    "ModelInput": TENSOR,
    "ModelOutput": TENSOR,
    "ModelInstanceGroup": {"kind": ("KIND_CPU", "KIND_GPU"), "count": "int"},
    "ModelDynamicBatching": {"preferred_batch_size": "int", "max_queue_delay_microseconds": "int"},
    "ModelTransactionPolicy": {"decoupled": "bool"},
    "ParametersEntry": {"key": "string", "value": "ModelParameter"},
    "ModelParameter": {"string_value": "string"},
}
PYTHON = {"string": str, "int": int, "bool": bool}


def parameters(values: dict[str, str]) -> list[dict[str, Any]]:
    """The field `parameters` of a ModelConfig."""
    return [{"key": key, "value": {"string_value": value}} for key, value in values.items()]


def pbtxt(config: dict[str, Any], message: str = "ModelConfig", indent: str = "") -> str:
    """The text of a `message` of SCHEMA; a list is a repeated field. Raises ValueError for what SCHEMA has not."""
    lines = []
    for name, value in config.items():
        kind = SCHEMA[message].get(name)
        if kind is None:
            raise ValueError(f"{message} has no field {name}")
        for each in value if isinstance(value, list) else [value]:
            if isinstance(kind, str) and kind in SCHEMA:
                lines.append(f"{indent}{name} {{\n{pbtxt(each, kind, indent + '  ')}{indent}}}\n")
            else:
                lines.append(f"{indent}{name}: {_scalar(kind, each, f'{message}.{name}')}\n")
    return "".join(lines)


def _scalar(kind: Kind, value: object, where: str) -> str:
    if isinstance(kind, tuple):
        if value not in kind:
            raise ValueError(f"{where} is {value!r}, expected one of {', '.join(kind)}")
        return str(value)
    if type(value) is not PYTHON[kind]:
        raise ValueError(f"{where} is {value!r}, expected a value of type {kind}")
    return json.dumps(value, ensure_ascii=False)  # true, 8, "vocals": as protobuf writes them
