"""The two TensorRT packages, which have almost the same API: `tensorrt` and `tensorrt_rtx`."""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any

from runtime.errors import EngineError

# flavour of a plan -> (module, command that installs it)
PACKAGES = {
    "tensorrt": ("tensorrt", "pip install 'bsmamba2[tensorrt]'"),
    "tensorrt-rtx": ("tensorrt_rtx", "pip install 'bsmamba2[tensorrt-rtx]'"),
}

ACTIVATIONS = re.compile(r"Total Activation Memory: (\d+) bytes")


def bindings(flavour: str) -> ModuleType:
    """The Python module of a flavour. Raises EngineError, with the package to install, if it cannot be imported."""
    module, remedy = PACKAGES[flavour]
    try:
        return importlib.import_module(module)
    except Exception as error:  # a missing or unsuitable library raises ImportError, OSError or others
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(f"{module} cannot be loaded ({reason}): {remedy}") from error


def quiet_logger(trt: Any) -> Any:
    """A logger for `trt` that prints nothing and keeps errors; `first()` returns the first one.

    `activations` is the GPU memory for intermediate results in bytes, once TensorRT-RTX's builder has told it.
    """

    class QuietLogger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.activations: int | None = None

        def log(self, severity: Any, msg: str) -> None:
            told = ACTIVATIONS.search(msg)
            if told is not None:
                self.activations = int(told[1])
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR) and len(self.errors) < 100:
                self.errors.append(msg)

        def first(self) -> str:
            return self.errors[0].strip().splitlines()[0][:300] if self.errors else "no reason given"

    return QuietLogger()
