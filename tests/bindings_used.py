"""What the code uses of TensorRT's Python bindings, read from its source: names, calls and overridden methods."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULE = "trt"  # how every file names the bindings

# file -> variable or attribute -> its class in the bindings
OBJECTS = {
    "export/plan/build.py": {
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "error": "ParserError",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
        "cache": "ITimingCache",
    },
    "export/plan/scan_plugin.py": {"network": "INetworkDefinition"},
    "export/plan/sums.py": {"network": "INetworkDefinition", "layer": "ILayer", "user": "ILayer", "tensor": "ITensor"},
    "export/plan/watched.py": {"builder": "Builder", "config": "IBuilderConfig"},
    "export/plan/inspect_engine.py": {"network": "INetworkDefinition", "engine": "ICudaEngine"},
    "runtime/backends/kernel_cache.py": {"cache": "IRuntimeCache", "_cache": "IRuntimeCache"},
    "runtime/backends/plan_checks.py": {"runtime": "Runtime", "engine": "ICudaEngine"},
    "runtime/backends/plan_context.py": {
        "_runtime": "Runtime",
        "_engine": "ICudaEngine",
        "_context": "IExecutionContext",
        "_config": "IRuntimeConfig",
        "config": "IRuntimeConfig",
    },
}


@dataclass(frozen=True)
class Use:
    where: str  # file:line
    owner: str  # a class, or "" for a class of the module itself
    name: str
    positional: int | None = None  # arguments of a call; None: no call, or a call whose arguments are not written out
    keywords: frozenset[str] = frozenset()
    parameters: tuple[str, ...] | None = None  # of a method that overrides this one

    @property
    def full_name(self) -> str:
        return f"{self.owner}.{self.name}" if self.owner else self.name


def used_in(folder: str) -> list[Use]:
    """All uses in the files of `folder`, in their order."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        found += _uses(ast.parse(path.read_text()), file)
    return found


def _uses(tree: ast.AST, file: str) -> list[Use]:
    found = []
    caught = {id(each) for node in ast.walk(tree) for each in _caught(node)}
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found += _overrides(node, file)
        if not isinstance(node, ast.Attribute) or (node.attr.startswith("__") and node.attr != "__init__"):
            continue
        where, call = f"{file}:{node.lineno}", called.get(id(node))
        owner = None if id(node.value) in caught else _class_of(node.value, file)
        if owner is None:
            continue
        if owner == "" and call is not None:  # a constructor
            found += [Use(where, "", node.attr), _call(where, node.attr, "__init__", call)]
        elif call is not None:
            found.append(_call(where, owner, node.attr, call))
        else:
            found.append(Use(where, owner, node.attr))
    return found


def _caught(handler: ast.AST) -> list[ast.Name]:
    """Where an exception has the name of one of OBJECTS."""
    if not isinstance(handler, ast.ExceptHandler):
        return []
    return [node for node in ast.walk(handler) if isinstance(node, ast.Name) and node.id == handler.name]


def _class_of(value: ast.expr, file: str) -> str | None:
    """The class of an expression, "" for the bindings themselves, None if it is none of theirs."""
    if isinstance(value, ast.Name):
        return "" if value.id == MODULE else OBJECTS.get(file, {}).get(value.id)
    if isinstance(value, ast.Call):  # the object that trt.Class(...) makes
        return _class_of(value.func, file) if isinstance(value.func, ast.Attribute) else None
    if isinstance(value, ast.Attribute):
        if isinstance(value.value, ast.Name) and value.value.id == MODULE:
            return None if value.attr.startswith("__") else value.attr
        return OBJECTS.get(file, {}).get(value.attr)
    return None


def _call(where: str, owner: str, name: str, call: ast.Call) -> Use:
    if any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
        return Use(where, owner, name)
    named = frozenset(each.arg for each in call.keywords if each.arg is not None)
    is_explicit = name == "__init__" and bool(call.args) and getattr(call.args[0], "id", "") == "self"
    return Use(where, owner, name, len(call.args) - is_explicit, named)


def _overrides(node: ast.ClassDef, file: str) -> list[Use]:
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")]
    return [
        Use(f"{file}:{each.lineno}", base.attr, each.name, parameters=tuple(arg.arg for arg in each.args.args[1:]))
        for base in node.bases
        if isinstance(base, ast.Attribute) and _class_of(base.value, file) == ""
        for each in methods
    ]
