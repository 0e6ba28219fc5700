"""Every name, overload and keyword of TensorRT that the code uses is in its real bindings, as are the doubles'."""

from __future__ import annotations

import ast
import inspect
import sys

import pytest
import real_bindings
import tensorrt_double
from bindings_used import OBJECTS, ROOT, Use, used_in
from real_bindings import BINDINGS, RTX, WHEELS, Classes, accepts, classes_of

pytestmark = pytest.mark.seconds

RUNTIME, BUILD = used_in("runtime"), used_in("export/plan")
# What TensorRT-RTX alone has; the code uses it behind a check of the flavour.
RTX_ONLY = {
    *("ComputeCapability", "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability"),
    *("EngineInvalidityDiagnostics", "EngineValidity", "EngineValidity.INVALID", "EngineValidity.SUBOPTIMAL"),
    "Runtime.get_engine_validity",
    *("CudaGraphStrategy", "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE", "IRuntimeConfig.cuda_graph_strategy"),
    *("DynamicShapesKernelSpecializationStrategy", "DynamicShapesKernelSpecializationStrategy.EAGER"),
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
    *("IRuntimeConfig.create_runtime_cache", "IRuntimeConfig.set_runtime_cache"),
    *("IRuntimeCache.deserialize", "IRuntimeCache.serialize"),
}
# What full TensorRT alone has, likewise.
FULL_ONLY = {"NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS"}
# name of the bindings -> what the code does without there, behind a check.
ABSENT = {
    RTX: FULL_ONLY,
    "tensorrt 10.9": {
        *RTX_ONLY,
        *("ICudaEngine.create_runtime_config", "ICudaEngine.create_execution_context(runtime_config)"),
        "IRuntimeConfig.set_execution_context_allocation_strategy",
    },
    "tensorrt 11.4": RTX_ONLY,
    "tensorrt-lean 11.4": RTX_ONLY,
}


@pytest.fixture(scope="module", params=BINDINGS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def classes(name, tmp_path_factory) -> Classes:
    return classes_of(name, tmp_path_factory.mktemp("bindings"))


@pytest.fixture(scope="module")
def rtx(tmp_path_factory) -> Classes:
    return classes_of(RTX, tmp_path_factory.mktemp("rtx"))


def lacking(use: Use, classes: Classes) -> str | None:
    """What of `use` these bindings do not have."""
    if use.owner == "":
        return None if use.name in classes else use.name
    member = classes.get(use.owner, {}).get(use.name, "")
    if member == "":
        return use.full_name
    if use.parameters is not None:  # named in the documentation of the method that is overridden
        return None if [list(use.parameters)] == [[each for each, _ in one] for one in member] else use.full_name
    if use.positional is None or accepts(member, use.positional, set(use.keywords)):
        return None
    return f"{use.full_name}({', '.join(['_'] * use.positional + sorted(use.keywords))})"


def of_our_own(use: Use, classes: Classes) -> bool:
    """Whether it is a method that a class of ours adds to one of the bindings."""
    return use.parameters is not None and use.name not in classes.get(use.owner, {})


def test_all_that_is_used_is_there(name, classes):
    uses = RUNTIME if "lean" in name else RUNTIME + BUILD
    uses = [use for use in uses if not of_our_own(use, classes)]
    assert len(uses) > 40
    found = {lacking(use, classes): use.where for use in uses if lacking(use, classes) is not None}
    assert {lack: where for lack, where in found.items() if lack not in ABSENT[name]} == {}
    used = {use.full_name for use in uses}
    assert {each for each in ABSENT[name] if each.split("(")[0] in used} <= set(found)  # the list is true


def test_every_class_that_is_listed_is_used():
    for file, objects in OBJECTS.items():
        used = {use.owner for use in RUNTIME + BUILD if use.where.startswith(f"{file}:")}
        assert set(objects.values()) <= used, file


@pytest.mark.parametrize("folder", ["runtime", "export/plan"])
def test_no_object_of_the_bindings_is_overlooked(folder, rtx):
    """A distinctive name of theirs on something whose class bindings_used.py does not know."""
    distinctive = {each for members in rtx.values() for each in members if "_" in each.strip("_")}
    known = {use.where for use in used_in(folder)}
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in distinctive:
                where = f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
                assert where in known, f"{where}: {node.attr}: add its object to OBJECTS in tests/bindings_used.py"


def test_mistakes_are_seen(rtx):
    assert lacking(Use("", "", "IRuntime"), rtx) == "IRuntime"
    assert lacking(Use("", "IExecutionContext", "execute_async_v2", 1), rtx) == "IExecutionContext.execute_async_v2"
    wrong = Use("", "IExecutionContext", "set_device_memory", 1)
    assert lacking(wrong, rtx) == "IExecutionContext.set_device_memory(_)"
    wrong = Use("", "ICudaEngine", "create_execution_context", 0, frozenset({"config"}))
    assert lacking(wrong, rtx) == "ICudaEngine.create_execution_context(config)"
    assert lacking(Use("", "ILogger", "log", parameters=("severity", "message")), rtx) == "ILogger.log"


DOUBLES = {
    "ILogger": tensorrt_double.ILogger,
    "Logger": tensorrt_double.Logger,
    "Runtime": tensorrt_double.Runtime,
    "ICudaEngine": tensorrt_double.ICudaEngine,
    "IExecutionContext": tensorrt_double.IExecutionContext,
    "IRuntimeConfig": tensorrt_double.IRuntimeConfig,
}
RTX_DOUBLES = {
    "Runtime": tensorrt_double.RtxRuntime,
    "IRuntimeConfig": tensorrt_double.RtxRuntimeConfig,
    "IRuntimeCache": tensorrt_double.IRuntimeCache,
}
# They have names that the double does not stand for: how the tests steer it.
STEERS = {"dtype", "contexts", "strategy", "settings", "bytes_per_item", "is_out_of_memory", "kernels", "make_engine"}


def test_the_double_has_what_the_bindings_have(name, classes):
    """Every method of a double takes the parameters of the real one, alone or all of them."""
    for owner, double in (DOUBLES | (RTX_DOUBLES if name == RTX else {})).items():
        if owner not in classes:
            assert f"ICudaEngine.create_{'runtime_config'}" in ABSENT[name], owner
            continue
        for key, method in vars(double).items():
            if key.startswith("_") or key in STEERS or not inspect.isfunction(method):
                continue
            if f"{owner}.{key}" in ABSENT[name]:
                continue
            parameters = list(inspect.signature(method).parameters)[1:]
            real = [[each for each, _ in one] for one in classes[owner][key]]
            assert (
                parameters in real
                or parameters == [each for one in real for each in one]
                or (
                    [parameters[:1]] == real  # an overload that these bindings lack
                )
            ), f"{owner}.{key}: {parameters}, expected one of {real}"


def test_the_double_has_all_that_is_used():
    """So that what the double does not know cannot be used without a test."""
    doubles = DOUBLES | RTX_DOUBLES
    for use in RUNTIME:
        if use.owner in doubles and use.parameters is None and use.name != "__init__":
            double = doubles[use.owner]
            attributes = {*dir(double), *("name", "num_io_tensors", "Severity")}
            assert use.name in attributes, f"{use.where}: {use.full_name}"


def test_make_fetches_these_bindings():
    (line,) = [each for each in (ROOT / "Makefile").read_text().splitlines() if each.startswith("BINDINGS = ")]
    wanted = {wheel.replace("-", "==").replace("_", "-") for _, wheel in WHEELS.values()}
    assert set(line.split()[2:]) == wanted


def test_without_a_wheel_or_a_compiler_it_is_skipped_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(real_bindings, "FOLDER", tmp_path)
    with pytest.raises(
        pytest.skip.Exception, match=r"no tensorrt_cu12_bindings-10.9.0.34-cp3\d+-\*.whl in .*: fetch it"
    ):
        classes_of("tensorrt 10.9", tmp_path)
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    (tmp_path / f"tensorrt_cu12_bindings-10.9.0.34-{python}-none-any.whl").touch()
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(pytest.skip.Exception, match="no C compiler"):
        classes_of("tensorrt 10.9", tmp_path)
