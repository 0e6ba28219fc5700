"""The packages of TensorRT: which is loaded, what is said where it cannot be, and what its logger keeps."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import tensorrt_rtx

from runtime.engine.flavours import PACKAGES, bindings, native_logger, quiet_logger, runtime_bindings
from runtime.engine.manifest import FLAVOURS
from runtime.errors import EngineError


def test_every_flavour_of_a_manifest_has_a_package():
    assert set(PACKAGES) == set(FLAVOURS)
    assert bindings("tensorrt-rtx") is tensorrt_rtx


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_missing_package_is_one_line(monkeypatch, flavour):
    module, _ = PACKAGES[flavour]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=rf"^{module} cannot be loaded \(.*\): pip install 'bsmamba2\[{flavour}\]'$"):
        bindings(flavour)


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError("libnvinfer.so: not found\nand more"), "libnvinfer.so: not found"), (RuntimeError(), "RuntimeError")],
)
def test_a_package_that_does_not_fit_is_one_line(monkeypatch, tmp_path, error, said):
    (tmp_path / "tensorrt.py").write_text(f"raise {error!r}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(
        EngineError, match=rf"^tensorrt cannot be loaded \({said}\): pip install 'bsmamba2\[tensorrt\]'$"
    ):
        bindings("tensorrt")


def test_the_logger_keeps_errors_and_prints_nothing(capfd):
    logger = quiet_logger(tensorrt_rtx)
    severity = tensorrt_rtx.ILogger.Severity
    assert logger.first() == "no reason given"
    logger.log(severity.WARNING, "a warning")
    logger.log(severity.VERBOSE, "a detail")
    logger.log(severity.ERROR, "the cause\nin two lines")
    logger.log(severity.INTERNAL_ERROR, "what followed")
    assert logger.first() == "the cause"
    assert logger.errors == ["the cause\nin two lines", "what followed"]
    assert logger.warnings == ["a warning"] and logger.about_gpus() == []
    logger.log(severity.WARNING, "Using an engine plan file across different models of devices\nmore")
    assert logger.about_gpus() == ["TensorRT: Using an engine plan file across different models of devices"]
    assert capfd.readouterr() == ("", "")


def test_the_logger_for_running_plans_is_not_one_in_python(capfd):
    logger = native_logger(tensorrt_rtx)
    assert type(logger) is tensorrt_rtx.Logger
    logger.log(tensorrt_rtx.ILogger.Severity.ERROR, "an error")
    assert capfd.readouterr() == ("", "")


def test_the_lean_runtime_is_only_for_version_compatible_plans(monkeypatch):
    lean = ModuleType("tensorrt_lean")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_lean", lean)
    assert runtime_bindings("tensorrt", version_compatible=True) is lean
    with pytest.raises(EngineError, match=r"^tensorrt cannot be loaded .*'bsmamba2\[tensorrt\]'$"):
        runtime_bindings("tensorrt", version_compatible=False)
    full = ModuleType("tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", full)
    assert runtime_bindings("tensorrt", version_compatible=True) is full
