"""Sessions of ONNX Runtime, on the CPU or on a GPU: there and nowhere else, or one line says why not."""

from __future__ import annotations

import ctypes
import io
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

from runtime.backends.ort import ort
from runtime.backends.providers import CUDA, TENSORRT, Provider, tensorrt_package
from runtime.errors import EngineError

CPU = "CPUExecutionProvider"
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
LIBRARIES = {CUDA: "onnxruntime_providers_cuda", TENSORRT: "onnxruntime_providers_tensorrt"}
# The CUDA provider leaves nodes that compute shapes on the CPU on purpose: up to this share of all nodes they are fine.
SHAPES = 0.1


def open_on_cpu(engine: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    """Raises EngineError."""
    try:
        return _start(engine, options, {CPU: {}}, io.StringIO())
    except Exception as error:  # ONNX Runtime's exceptions have no common root
        raise EngineError(f"{engine}: ONNX Runtime cannot open it ({first_line(error)})") from error


def open_on_gpu(
    engine: Path, options: ort.SessionOptions, provider: Provider
) -> tuple[ort.InferenceSession, list[str]]:
    """A session that runs `engine` on `provider`, and messages for the user. Raises EngineError."""
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = {} if provider.gpu is not None else {provider.name: provider.settings} | provider.behind
    said = io.StringIO()
    ort.set_default_logger_severity(4)  # it would write on stderr which libraries are missing
    try:
        if hasattr(ort, "preload_dlls"):
            with redirect_stdout(io.StringIO()):
                ort.preload_dlls()  # finds CUDA and cuDNN installed by pip
        if provider.gpu is not None:
            options.add_provider_for_devices([provider.gpu], provider.settings)
        session = _start(engine, options, providers, said)
    except Exception as error:
        raise EngineError(
            f"{engine}: {provider.name} cannot run it ({_printed(said) or first_line(error)}): use --device cpu, or "
            "build a TensorRT plan with bsm-export --rebuild"
        ) from error
    finally:
        ort.set_default_logger_severity(2)  # its default; what it was cannot be asked
    started = session.get_providers()[0]
    if started != provider.name:  # ONNX Runtime has chosen another one
        reason, remedy = _why_not(provider, _printed(said) or f"ONNX Runtime used {started}")
        raise EngineError(f"{engine}: {provider.name} did not start ({reason}): {remedy}, or use --device cpu")
    return session, [*provider.notes, *_elsewhere(engine, session, provider)]


def _start(
    engine: Path, options: ort.SessionOptions, providers: dict[str, dict[str, str]], said: io.StringIO
) -> ort.InferenceSession:
    """A session with `providers`, best first (none: that of `options`); what ONNX Runtime prints goes to `said`."""
    with redirect_stdout(said):  # the reason, if a GPU does not start and it goes on with the CPU
        if providers:
            session = ort.InferenceSession(engine, options, list(providers), list(providers.values()))
        else:
            session = ort.InferenceSession(engine, options, enable_fallback=0)
    session.disable_fallback()  # otherwise a run that fails on the GPU continues on the CPU
    return session


def _printed(said: io.StringIO) -> str:
    lines = [line for line in said.getvalue().splitlines() if line.startswith("EP Error ")]
    return lines[0].removeprefix("EP Error ")[:300] if lines else ""


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _why_not(provider: Provider, printed: str) -> tuple[str, str]:
    """Why a provider did not start, and what to do."""
    version = str(getattr(ort, "cuda_version", "") or "")
    driver = f"NVIDIA's driver (it must support CUDA {version})" if version else "NVIDIA's driver"
    missing = _missing_library(provider.name)
    if missing is None:
        if "out of memory" in printed:
            return printed, "close other programs that use the GPU"
        return printed, f"check --device and {driver}"
    if DRIVER in missing:
        return missing, f"install {driver}"
    if "nvinfer" in missing or "nvonnxparser" in missing:
        return missing, f"pip install '{tensorrt_package()}'"
    return missing, "pip install --upgrade 'onnxruntime-gpu[cuda,cudnn]'"


def _missing_library(provider: str) -> str | None:
    """Why the library of a provider cannot be loaded: ONNX Runtime logs it, and tells nobody else."""
    name = LIBRARIES.get(provider)
    if name is None:  # a plugin says it itself
        return None
    folder = Path(ort.__file__).parent / "capi"
    prefix, suffix = ("", ".dll") if sys.platform == "win32" else ("lib", ".so")
    try:
        ctypes.CDLL(DRIVER)
        for each in ("onnxruntime_providers_shared", name):
            ctypes.CDLL(str(folder / f"{prefix}{each}{suffix}"), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return first_line(error)
    return None


def _elsewhere(engine: Path, session: ort.InferenceSession, provider: Provider) -> list[str]:
    """A note about nodes that the provider does not take. Raises EngineError if it takes none."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    nodes: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        nodes[part.ep_name] += len(part.get_nodes())
    total, taken = nodes.total(), nodes.pop(provider.name, 0)
    if total and not taken:
        raise EngineError(
            f"{engine}: {provider.name} takes none of its {total} nodes, so all would run on the CPU: "
            "use --device cpu, or build a TensorRT plan with bsm-export --rebuild"
        )
    if total - taken <= (SHAPES * total if provider.name == CUDA else 0):
        return []
    others = " and ".join(f"{count} in {name}" for name, count in nodes.items())
    return [
        f"{total - taken} of {total} nodes do not run in {provider.name} but {others}, which is slower: "
        "a plan, from bsm-export --trt, runs as a whole in TensorRT"
    ]
