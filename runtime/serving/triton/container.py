"""The versions of the libraries in Triton's container, and whether an engine runs in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from runtime.engine.manifest import Manifest
from runtime.engine.reading import rebuild_remedy
from runtime.errors import EngineError, OptionError

LOWEST_ONNXRUNTIME = (1, 20)  # the lowest that engines were run in: the bound of the extra `run`
ASK = "which version the container has is on NVIDIA's support matrix for frameworks (docs/triton.md)"


@dataclass(frozen=True)
class Container:
    """Versions as in "10.13.3.9" or "1.23.2"; None: not told."""

    tensorrt: str | None = None
    onnxruntime: str | None = None

    def check(self, engine: Path, manifest: Manifest) -> list[str]:
        """Notes on running `engine` there. Raises EngineError if it cannot, OptionError if a version is needed."""
        if engine.suffix.lower() == ".plan":
            return self._check_plan(engine, manifest)
        if self.onnxruntime is None:
            raise OptionError(f"{engine}: tell the ONNX Runtime that will run it with --onnxruntime-version: {ASK}")
        found = _parts(self.onnxruntime, "--onnxruntime-version")
        if found[:2] < LOWEST_ONNXRUNTIME:
            lowest = ".".join(map(str, LOWEST_ONNXRUNTIME))
            raise EngineError(
                f"{engine}: needs ONNX Runtime {lowest} or later, the container has {self.onnxruntime}: use a later one"
            )
        return []

    def require_use(self, engines: list[Path]) -> None:
        """Raise OptionError for a version that no engine depends on."""
        plans = [engine.suffix.lower() == ".plan" for engine in engines]
        if self.tensorrt is not None and not any(plans):
            raise OptionError("--tensorrt-version: none of the engines is a plan: leave it out")
        if self.onnxruntime is not None and all(plans):
            raise OptionError("--onnxruntime-version: all engines are plans: leave it out")

    def _check_plan(self, engine: Path, manifest: Manifest) -> list[str]:
        plan = manifest.plan
        if plan is None:
            raise ValueError("not a plan")
        if self.tensorrt is None:
            raise OptionError(f"{engine}: tell the TensorRT that will run it with --tensorrt-version: {ASK}")
        there, built = _parts(self.tensorrt, "--tensorrt-version"), _parts(plan.version, str(engine))
        if there == built[: len(there)]:
            return []
        if plan.version_compatible and there[0] == built[0] and there > built[: len(there)]:
            return [
                f"{engine}: was built with TensorRT {plan.version}; start Triton {self.tensorrt} with "
                "--backend-config=tensorrt,version-compatible=true"
            ]
        raise EngineError(
            f"{engine}: was built with TensorRT {plan.version}, the container has {self.tensorrt}, and a plan runs in "
            f"the version that built it: use the container with that one, or with TensorRT {self.tensorrt} installed, "
            f"{rebuild_remedy(engine)}"
        )


def _parts(version: str, where: str) -> tuple[int, ...]:
    if re.fullmatch(r"\d+(\.\d+){1,3}", version) is None:
        raise OptionError(f"{where} {version}: expected a version such as 10.13.3 or 1.23.2")
    return tuple(map(int, version.split(".")))
