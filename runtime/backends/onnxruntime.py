"""ONNX engines, run by ONNX Runtime on the CPU or, with one of its GPU providers, on a GPU."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Done
from runtime.engine.cpu import check_threads, default_threads
from runtime.engine.manifest import METADATA_KEY, Tensor
from runtime.errors import EngineError, ManifestError

try:
    import onnxruntime as ort
except ImportError as error:
    raise EngineError(
        "ONNX Runtime is not installed: pip install 'bsmamba2[run]', or 'bsmamba2[cuda]' with an NVIDIA GPU"
    ) from error

CPU = "CPUExecutionProvider"
# device -> its providers, best first
PROVIDERS = {
    "cpu": (CPU,),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("NvTensorRTRTXExecutionProvider", "TensorrtExecutionProvider"),
}


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
    """One session on `device`: "cpu", "cuda", "tensorrt", or "auto" (CUDA if it works, otherwise the CPU).

    On the CPU it takes `threads` threads (None: `default_threads`); `lean` returns memory to the system as soon as it
    is free, which halves the peak if intermediate results are large. A requested GPU is never replaced by the CPU.
    """

    depth = 1

    def __init__(
        self,
        engine: Path,
        threads: int | None,
        device: str = "cpu",
        *,
        lean: bool = False,
        precision: str = "fp32",
    ) -> None:
        self.notes: list[str] = []
        self._engine = engine
        options = session_options(threads)
        options.enable_cpu_mem_arena = not lean
        # A memory pattern would reserve the memory of a second run beside the first one's arena: 50% more.
        options.enable_mem_pattern = False
        self._session, provider = self._open(options, "cpu" if threads is not None else device, precision)
        self.name = f"onnxruntime {ort.__version__}, {provider.removesuffix('ExecutionProvider')}"
        self._inputs = self._tensors(self._session.get_inputs())
        self._outputs = self._tensors(self._session.get_outputs())  # the first is the stems, others are probes

    def _open(self, options: ort.SessionOptions, device: str, precision: str) -> tuple[ort.InferenceSession, str]:
        """A session and the provider that runs it."""
        installed = ort.get_available_providers()
        if device == "auto":
            if PROVIDERS["cuda"][0] in installed:
                try:
                    return self._session_on(options, PROVIDERS["cuda"][0])
                except EngineError as error:
                    if precision == "bf16":  # the CPU cannot run it
                        raise
                    self.notes.append(f"running on the CPU, because the GPU cannot be used: {error}")
            device = "cpu"
        if device == "cpu" and precision == "bf16":
            raise EngineError(
                f"{self._engine}: a bfloat16 engine needs an NVIDIA GPU, as ONNX Runtime has no bfloat16 on CPUs: "
                "build a TensorRT plan with bsm-export --rebuild, or export the checkpoint with --precision fp32"
            )
        found = [provider for provider in PROVIDERS[device] if provider in installed]
        if not found:
            raise EngineError(
                f"--device {device}: this ONNX Runtime has no {' or '.join(PROVIDERS[device])}: "
                "pip uninstall onnxruntime, then pip install 'bsmamba2[cuda]'; or use --device cpu"
            )
        return self._session_on(options, found[0])

    def _session_on(self, options: ort.SessionOptions, provider: str) -> tuple[ort.InferenceSession, str]:
        said = io.StringIO()  # ONNX Runtime prints the reason if a GPU does not start
        try:
            with redirect_stdout(said):
                if provider != CPU and hasattr(ort, "preload_dlls"):
                    ort.preload_dlls()  # finds CUDA and cuDNN installed by pip
                # By default CUDA's float32 products would keep 10 of 23 bits (TF32).
                settings = {"use_tf32": "0"} if provider == PROVIDERS["cuda"][0] else {}
                session = ort.InferenceSession(self._engine, options, [provider], [settings])
        except Exception as error:  # ONNX Runtime's exceptions have no common root
            raise EngineError(f"{self._engine}: ONNX Runtime cannot open it ({_first_line(error)})") from error
        session.disable_fallback()  # otherwise a run that fails on the GPU continues on the CPU
        started = session.get_providers()
        if started[0] != provider:  # ONNX Runtime has chosen another one
            lines = [line for line in said.getvalue().splitlines() if line.strip("* ") not in ("", "EP Error")]
            reason = f": {lines[0][:300]}" if lines else ""
            raise EngineError(
                f"{self._engine}: {provider} did not start (ONNX Runtime used {started[0]}{reason}): check the NVIDIA "
                "driver and that CUDA and cuDNN match this onnxruntime-gpu, or use --device cpu"
            )
        return session, provider

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
        (stems,) = self._fetch(mixture, [self._outputs[0].name])
        return stems

    def run_probes(self, mixture: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """[b, t, f, c, 2] -> every output by name: `stems` and the probes, if the engine has any."""
        names = [each.name for each in self._outputs]
        return dict(zip(names, self._fetch(mixture, names), strict=True))

    def _fetch(self, mixture: NDArray[np.float32], names: list[str]) -> list[NDArray[np.float32]]:
        try:
            out: list[NDArray[np.float32]] = self._session.run(
                names, {self._inputs[0].name: np.ascontiguousarray(mixture)}
            )
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on a batch of {mixture.shape[0]} ({_first_line(error)})") from error
        return out

    def submit(self, mixture: NDArray[np.float32]) -> Done:
        return Done(self.run(mixture))

    def close(self) -> None:
        """Nothing to release before the session is deleted."""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
