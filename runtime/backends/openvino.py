"""ONNX engines, run by OpenVINO on a CPU, or on an Intel GPU or NPU."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Done
from runtime.backends.device import HINTS
from runtime.backends.layout import layout_note
from runtime.backends.openvino_cache import Kept
from runtime.backends.openvino_gate import expected_stems, require_parity
from runtime.backends.sizes import size_of
from runtime.engine.cpu import check_threads, default_threads, usable_cpus
from runtime.engine.manifest import Manifest
from runtime.errors import EngineError, OptionError

Float = NDArray[np.float32]

# hint -> OpenVINO's name of what a processor must be able to do, and its own in words
COMPUTES = {"f32": ("FP32", "float32"), "f16": ("FP16", "float16"), "bf16": ("BF16", "bfloat16")}


def load_openvino() -> ModuleType:
    """Raises EngineError."""
    try:
        import openvino
    except Exception as error:  # an unsuitable library raises one of many exceptions
        raise EngineError(
            f"OpenVINO cannot be loaded ({error}): pip install 'bsmamba2[run,openvino]', or use --device cpu"
        ) from error
    module: ModuleType = openvino
    return module


class OpenVinoBackend:
    """One engine, compiled for one chunk at a time: a batch is computed chunk by chunk, which OpenVINO does faster.

    It computes in `hint`, whatever OpenVINO's own default on this `processor` (on a CPU with bfloat16, that).
    `threads` are those of a CPU (None: `default_threads`). What it has compiled is kept for the next start. When an
    engine is opened for the first time, its stems are compared with ONNX Runtime's: `openvino_gate`. `notes` says how
    it runs. Raises EngineError, OptionError.
    """

    depth = 1

    def __init__(
        self,
        engine: Path,
        manifest: Manifest,
        processor: str = "CPU",
        threads: int | None = None,
        hint: str = HINTS[0],
    ) -> None:
        if manifest.precision == "bf16":
            raise EngineError(
                f"{engine}: a bfloat16 engine does not run in OpenVINO, as there is nothing to check it with: export "
                "the checkpoint with --precision fp32; on a processor with bfloat16, --precision-hint bf16 uses it"
            )
        openvino = load_openvino()
        self._engine, self._manifest = engine, manifest
        self._core = openvino.Core()
        self._processor = processor
        version = str(openvino.__version__).split("-")[0]
        self._require(hint)
        self.name = f"openvino {version}, {processor}{'' if hint == 'f32' else f', {hint}'}"
        self.notes: list[str] = []
        if manifest.target != ("cpu" if processor == "CPU" else "gpu"):
            self.notes.append(layout_note(manifest.target))
        settings = self._settings(threads, hint)
        used = str(settings.get("INFERENCE_NUM_THREADS", ""))
        kept = Kept(manifest, [str(openvino.__version__), processor, hint, used, *self._about()])
        compiled = self._loaded(kept.load(), settings)
        if compiled is not None:
            self._request = compiled.create_infer_request()
        else:
            expected = expected_stems(engine, manifest, threads if processor == "CPU" else None)
            compiled = self._compiled(settings)
            self._request = compiled.create_infer_request()
            self.notes.append(require_parity(self, expected, engine, manifest, hint))
            self._keep(compiled, kept)
        if kept.note:
            self.notes.append(kept.note)

    def _require(self, hint: str) -> None:
        """Raises EngineError unless this machine has the processor, and it computes in `hint`."""
        found = [str(each) for each in self._core.available_devices]
        device = f"--device openvino:{self._processor}"
        if self._processor not in {each.split(".")[0] for each in found}:
            raise EngineError(
                f"{device}: OpenVINO finds no such processor here, only {', '.join(found) or 'none'}: install its "
                "driver, or use --device openvino:CPU"
            )
        able = self._property("OPTIMIZATION_CAPABILITIES")
        needed, words = COMPUTES[hint]
        if needed not in able:
            others = [each for each in HINTS if COMPUTES[each][0] in able]
            raise OptionError(
                f"--precision-hint {hint}: {device} computes no {words} here (it has {', '.join(map(str, able))}): "
                f"use --precision-hint {' or '.join(others)}"
            )

    def _about(self) -> list[str]:
        """What the processor is, and how many CPUs OpenVINO may count on, which limit its threads."""
        about = [self._property("FULL_DEVICE_NAME"), *self._property("OPTIMIZATION_CAPABILITIES"), usable_cpus()]
        return [str(each) for each in about]

    def _property(self, name: str) -> Any:
        try:
            return self._core.get_property(self._processor, name)
        except Exception as error:  # OpenVINO raises RuntimeError for everything
            raise EngineError(
                f"--device openvino:{self._processor}: does not say what it is ({reason(error)}): install its driver "
                "again, or use --device openvino:CPU"
            ) from error

    def _settings(self, threads: int | None, hint: str) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": hint,
            "EXECUTION_MODE_HINT": "ACCURACY",  # nothing of its own in fewer bits than that
            "PERFORMANCE_HINT": "LATENCY",
        }
        if self._processor == "CPU":
            count = (default_threads() or 0) if threads is None else check_threads(threads)  # 0: OpenVINO chooses
            # Bound to cores, the threads of two processes would wait for the same ones.
            settings |= {"INFERENCE_NUM_THREADS": count, "ENABLE_CPU_PINNING": False}
        return settings

    def _keep(self, compiled: Any, kept: Kept) -> None:
        try:
            content = compiled.export_model().getbuffer()
        except Exception as error:
            kept.not_kept(reason(error))
        else:
            kept.save(content)

    def _loaded(self, kept: bytes | None, settings: dict[str, Any]) -> Any:
        """None: nothing was kept, or another driver has compiled it."""
        if kept is None:
            return None
        with suppress(RuntimeError):
            return self._core.import_model(BytesIO(kept), self._processor, settings)
        return None

    def _compiled(self, settings: dict[str, Any]) -> Any:
        try:
            model = self._core.read_model(self._engine)
            (mixture,) = model.inputs
            shape = mixture.partial_shape
            shape[0] = 1
            model.reshape(shape)
            return self._core.compile_model(model, self._processor, settings)
        except Exception as error:
            raise EngineError(
                f"{self._engine}: OpenVINO cannot run it on {self._processor} ({reason(error)}): use --device cpu"
            ) from error

    def run(self, mixture: Float) -> Float:
        return self.run_probes(mixture)[self._manifest.output.name]

    def run_probes(self, mixture: Float) -> dict[str, Float]:
        """Every output by name: `stems` and the probes, if the engine has any."""
        size_of(mixture, self._manifest, self._engine.name)
        items = [self._outputs(item[None]) for item in np.ascontiguousarray(mixture)]
        if len(items) == 1:
            return items[0]
        return {name: np.concatenate([item[name] for item in items]) for name in items[0]}

    def _outputs(self, mixture: Float) -> dict[str, Float]:
        try:
            found = self._request.infer([mixture], share_inputs=True)
            return {output.any_name: array for output, array in found.items()}
        except Exception as error:
            raise EngineError(f"{self._engine}: OpenVINO failed on a chunk ({reason(error)})") from error

    def submit(self, mixture: Float) -> Done:
        return Done(self.run(mixture))

    def close(self) -> None:
        """Nothing to release before the model is deleted."""


def reason(error: Exception) -> str:
    """OpenVINO gives its own source lines first, and what it is about last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].removeprefix("-- ")[:300]
