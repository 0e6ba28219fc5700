"""Prints the classes of a TensorRT module as JSON: python describe_bindings.py MODULE. Run in a process of its own.

{class: {member: null, or for a method the parameters of each overload: [[name, whether it is required]]}}
"""

from __future__ import annotations

import importlib
import json
import re
import sys

SIGNATURE = re.compile(r"(?:\d+\. )?\w+\((.*)\) -> ")
PARAMETER = re.compile(r"(?:^|, )(\*{0,2}\w+)(?:: ((?:[^,\[(<]|\[[^\]]*\]|\([^)]*\)|<[^>]*>)*))?")


def overloads(method: object) -> list[list[tuple[str, bool]]]:
    """The parameters of each signature in a docstring of pybind11, without `self`: (name, whether it is required)."""
    found = []
    for line in (method.__doc__ or "").splitlines():
        match = SIGNATURE.match(line)
        if match and match[1] != "*args, **kwargs":
            parameters = [(each[1], " = " not in (each[2] or "")) for each in PARAMETER.finditer(match[1])]
            found.append([each for each in parameters if each[0] != "self"])
    return found


def members(kind: type) -> dict[str, list[list[tuple[str, bool]]] | None]:
    found = {}
    for name in dir(kind):
        if not name.startswith("_") or name == "__init__":
            member = getattr(kind, name)
            found[name] = overloads(member) if callable(member) and not isinstance(member, type) else None
    return found


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    classes = {name: members(value) for name, value in vars(module).items() if isinstance(value, type)}
    json.dump(classes, sys.stdout)


if __name__ == "__main__":
    main()
