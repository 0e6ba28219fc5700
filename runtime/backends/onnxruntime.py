"""ONNX engines, run by ONNX Runtime on the CPU or, with one of its GPU providers, on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Done
from runtime.backends.device import Device
from runtime.backends.gpu_memory import GpuMemory
from runtime.backends.layout import layout_note
from runtime.backends.ort import ort
from runtime.backends.providers import CUDA, gpu_provider
from runtime.backends.sessions import CPU, first_line, open_on_cpu, open_on_gpu
from runtime.backends.sizes import size_of
from runtime.engine.cpu import check_threads, default_threads
from runtime.engine.manifest import METADATA_KEY, Manifest, Tensor
from runtime.errors import EngineError, ManifestError

ON_CPU = Device("cpu")


def session_options(threads: int | None) -> ort.SessionOptions:
    """Options of a session with `threads` CPU threads (None: `default_threads`), which sleep while they have no work.

    Measured: docs/engine.md. Raises OptionError.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions; its own log would repeat them on stderr
    # 0: ONNX Runtime chooses.
    options.intra_op_num_threads = (default_threads() or 0) if threads is None else check_threads(threads)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class OnnxRuntimeBackend:
    """One session on `device`; "auto" is CUDA if it works, otherwise the CPU. A GPU needs the engine's `manifest`.

    On the CPU it takes `threads` threads (None: `default_threads`); `lean` returns memory to the system as soon as it
    is free, which halves the peak if intermediate results are large. A requested GPU is never replaced by the CPU.
    `notes` says how it runs. Raises EngineError, OptionError.
    """

    depth = 1

    def __init__(
        self,
        engine: Path,
        threads: int | None,
        device: Device = ON_CPU,
        *,
        lean: bool = False,
        manifest: Manifest | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._engine, self._manifest = engine, manifest
        self._threads, self._lean = threads, lean
        self._memory: GpuMemory | None = None
        self._session, provider = self._open(ON_CPU if threads is not None else device, manifest)
        self._on_gpu = provider != CPU
        self.name = f"onnxruntime {ort.__version__}, {provider.removesuffix('ExecutionProvider')}"
        self._inputs = self._tensors(self._session.get_inputs())
        self._outputs = self._tensors(self._session.get_outputs())  # the first is the stems, others are probes
        if provider == CUDA:
            self._memory = GpuMemory(self._session, self._inputs[0].name, self._outputs[0].name, device.index)
        if manifest is not None and self._on_gpu != (manifest.target == "gpu"):
            self.notes.append(layout_note(manifest.target))

    def _options(self) -> ort.SessionOptions:
        options = session_options(self._threads)
        options.enable_cpu_mem_arena = not self._lean
        # A memory pattern would reserve the memory of a second run beside the first one's arena: 50% more.
        options.enable_mem_pattern = False
        return options

    def _open(self, device: Device, manifest: Manifest | None) -> tuple[ort.InferenceSession, str]:
        """A session and the provider that runs it."""
        bf16 = manifest is not None and manifest.precision == "bf16"
        if device.kind in ("cuda", "tensorrt"):
            return self._open_on_gpu(device, manifest)
        if device.kind == "auto" and CUDA in ort.get_available_providers():
            try:
                return self._open_on_gpu(Device("cuda"), manifest)
            except EngineError as error:
                if bf16:  # the CPU cannot run it
                    raise
                self.notes.append(f"running on the CPU, because the GPU cannot be used: {error}")
        if bf16:
            raise EngineError(
                f"{self._engine}: a bfloat16 engine needs an NVIDIA GPU, as ONNX Runtime has no bfloat16 on CPUs: "
                "build a TensorRT plan with bsm-export --rebuild, or export the checkpoint with --precision fp32"
            )
        return open_on_cpu(self._engine, self._options()), CPU

    def _open_on_gpu(self, device: Device, manifest: Manifest | None) -> tuple[ort.InferenceSession, str]:
        if manifest is None:
            raise ValueError("a GPU needs the manifest: its sizes")
        provider = gpu_provider(device, manifest)
        session, notes = open_on_gpu(self._engine, self._options(), provider)
        self.notes += notes
        return session, provider.name

    def _tensors(self, values: list[ort.NodeArg]) -> list[Tensor]:
        return [Tensor(value.name, value.type, list(value.shape)) for value in values]

    def require(self, mixture: Tensor, stems: Tensor, manifest_copy: str, probes: Sequence[Tensor] = ()) -> None:
        """Raise an error unless the engine has the input and outputs of its manifest and contains a copy of it.

        `probes` are the outputs expected after `stems`.
        """
        for given, wanted in ((self._inputs, [mixture]), (self._outputs, [stems, *probes])):
            if len(given) != len(wanted):
                raise EngineError(
                    f"{self._engine}: has {', '.join(each.name for each in given)}, but its manifest says "
                    f"{', '.join(each.name for each in wanted)}: export the engine again with bsm-export"
                )
            for found, expected in zip(given, wanted, strict=True):
                if found != Tensor(expected.name, "tensor(float)", expected.shape):
                    raise EngineError(
                        f"{self._engine}: has {found.name} {found.dtype} {found.shape}, but its manifest says "
                        f"{expected.name} {expected.dtype} {expected.shape}: export the engine again with bsm-export"
                    )
        inside = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if inside != manifest_copy:
            raise ManifestError(
                f"{self._engine}: the manifest beside it is not the one it was exported with: it was edited or "
                "replaced: export the engine again with bsm-export"
            )

    def run(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._memory is None or self._manifest is None:
            return self._fetch(mixture, [self._outputs[0].name])[0]
        batch, frames = size_of(mixture, self._manifest, self._engine.name)
        try:
            return self._memory.run(mixture, self._manifest.output_shape(batch, frames))
        except Exception as error:
            raise EngineError(self._failed(mixture, error)) from error

    def run_probes(self, mixture: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Every output by name: `stems` and the probes, if the engine has any."""
        names = [each.name for each in self._outputs]
        return dict(zip(names, self._fetch(mixture, names), strict=True))

    def _fetch(self, mixture: NDArray[np.float32], names: list[str]) -> list[NDArray[np.float32]]:
        if self._manifest is not None:
            size_of(mixture, self._manifest, self._engine.name)
        try:
            out: list[NDArray[np.float32]] = self._session.run(
                names, {self._inputs[0].name: np.ascontiguousarray(mixture)}
            )
        except Exception as error:
            raise EngineError(self._failed(mixture, error)) from error
        return out

    def _failed(self, mixture: NDArray[np.float32], error: Exception) -> str:
        remedy = ": try a smaller --batch, or close other programs that use the GPU" if self._on_gpu else ""
        return f"ONNX Runtime failed on a batch of {mixture.shape[0]} ({first_line(error)}){remedy}"

    def submit(self, mixture: NDArray[np.float32]) -> Done:
        return Done(self.run(mixture))

    def close(self) -> None:
        """Nothing to release before the session is deleted."""
