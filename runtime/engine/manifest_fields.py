"""JSON objects to dataclasses: every field is required and checked for its type; unknown fields are refused."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from runtime.errors import ManifestError

REMEDY = "export the engine again with bsm-export"

T = TypeVar("T")


def read_fields(cls: type[T], data: Any, where: str, key: str = "") -> T:
    """An instance of the dataclass `cls` from a JSON object with exactly its keys. Raises ManifestError.

    Errors name the file, `where`, and the path to the field, `key`.
    """
    if not isinstance(data, dict):
        raise ManifestError(
            f"{where}: {key.rstrip('.') or 'the content'} is {_shown(data)}, not a JSON object: {REMEDY}"
        )
    hints = get_type_hints(cls)
    names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for name in names:
        if name not in data:
            raise ManifestError(f"{where}: key {key}{name} is missing: {REMEDY}")
    for name in data:
        if name not in names:
            raise ManifestError(f"{where}: key {key}{name} is unknown: {REMEDY}")
    return cls(**{name: _value(hints[name], data[name], where, key + name) for name in names})


def _value(kind: Any, value: Any, where: str, key: str) -> Any:
    if isinstance(kind, types.UnionType):
        if value is None and type(None) in get_args(kind):
            return None
        for option in get_args(kind):
            if is_dataclass(option) or isinstance(value, option):
                return _value(option, value, where, key)
    elif is_dataclass(kind) and isinstance(kind, type):
        return read_fields(kind, value, where, key + ".")
    elif get_origin(kind) is list and isinstance(value, list):
        return [_value(get_args(kind)[0], item, where, f"{key}[{i}]") for i, item in enumerate(value)]
    elif get_origin(kind) is dict and isinstance(value, dict):
        return {str(name): _value(get_args(kind)[1], item, where, f"{key}.{name}") for name, item in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is kind:
        return value
    raise ManifestError(f"{where}: key {key} is {_shown(value)}, expected {_named(kind)}: {REMEDY}")


def _named(kind: Any) -> str:
    """A type in the words of JSON, such as "a list or null"."""
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    if isinstance(kind, types.UnionType):
        return " or ".join(map(_named, get_args(kind)))
    return names.get(kind, "a list" if get_origin(kind) is list else "an object")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
