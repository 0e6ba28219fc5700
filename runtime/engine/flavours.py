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
# Full TensorRT's runtime without its builder, which runs version-compatible plans.
LEAN = ("tensorrt_lean", "pip install 'bsmamba2[tensorrt-lean]'")

ACTIVATIONS = re.compile(r"Total Activation Memory: (\d+) bytes")


def bindings(flavour: str) -> ModuleType:
    """The Python module of a flavour. Raises EngineError, with the package to install, if it cannot be imported."""
    return _imported(*PACKAGES[flavour])


def runtime_bindings(flavour: str, version_compatible: bool) -> ModuleType:
    """The module that runs plans of a flavour, which for a version-compatible plan may be the lean runtime.

    The lean runtime crashes if it is used without a GPU: find one first. Raises EngineError.
    """
    try:
        return bindings(flavour)
    except EngineError as error:
        if not version_compatible:
            raise
        try:
            return _imported(*LEAN)
        except EngineError as lean:
            raise EngineError(f"{error}, or {LEAN[1]}") from lean


def _imported(module: str, remedy: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:  # a missing or unsuitable library raises ImportError, OSError or others
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(f"{module} cannot be loaded ({reason}): {remedy}") from error


def native_logger(trt: Any) -> Any:
    """The logger of the bindings themselves, to run plans of TensorRT-RTX: it prints internal errors and nothing else.

    TensorRT-RTX compiles kernels in threads of its own. With a logger in Python they would need Python's global lock
    to log, and wait for ever for a thread that holds it and waits for them, as one that deletes a context does. This
    logger keeps no errors, and is not asked to print them, as it prints to standard output.
    """
    return trt.Logger(trt.ILogger.Severity.INTERNAL_ERROR)


def quiet_logger(trt: Any) -> Any:
    """A logger for `trt` that prints nothing and keeps errors and warnings; `first()` returns the first error.

    `activations` is the GPU memory for intermediate results in bytes, once TensorRT-RTX's builder has told it.
    """

    class QuietLogger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []
            self.activations: int | None = None

        def log(self, severity: Any, msg: str) -> None:
            told = ACTIVATIONS.search(msg)
            if told is not None:
                self.activations = int(told[1])
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR) and len(self.errors) < 100:
                self.errors.append(msg)
            if severity == trt.ILogger.Severity.WARNING and len(self.warnings) < 100:
                self.warnings.append(msg)

        def first(self) -> str:
            return _line(self.errors[0]) if self.errors else "no reason given"

        def about_gpus(self) -> list[str]:
            """Warnings that the plan was built on another GPU."""
            return [f"TensorRT: {_line(each)}" for each in self.warnings if "different models of devices" in each]

    return QuietLogger()


def _line(message: str) -> str:
    return message.strip().splitlines()[0][:300]
