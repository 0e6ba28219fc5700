"""What this machine has: its GPU, the driver, and the packages that a contender may need."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

MODULES = (
    *(
        "torch",
        "triton",
        "numpy",
        "cuda",
        "mamba_ssm",
        "causal_conv1d",
        "onnxruntime",
        "onnxruntime_ep_nv_tensorrt_rtx",
    ),
    *("tensorrt", "tensorrt_rtx", "onnx", "onnx_ir", "onnxscript", "ml_dtypes", "safetensors", "yaml", "httpx"),
    *("filelock", "platformdirs", "soundfile", "soxr", "typer", "rich"),
)
NO_DRIVER = "there is no NVIDIA driver"


@dataclass(frozen=True)
class Machine:
    gpu: str | None = None  # its name, as CUDA gives it
    why_no_gpu: str = NO_DRIVER
    capability: tuple[int, int] | None = None  # compute capability, such as (9, 0)
    memory: int | None = None  # of the GPU, bytes
    driver_cuda: str | None = None  # the newest CUDA that the driver supports
    modules: dict[str, str] = field(default_factory=dict)  # those of MODULES that are here, and their versions
    torch_cuda: str | None = None  # the CUDA that PyTorch was built for
    why_no_torch_cuda: str = ""  # why PyTorch cannot use the GPU
    providers: tuple[str, ...] = ()  # of ONNX Runtime
    cpu: str = ""
    cores: int = 0
    system: str = ""
    python: str = ""

    @classmethod
    def of(cls, data: dict[str, Any]) -> Machine:
        """From JSON."""
        capability = data["capability"]
        return cls(
            **{
                **data,
                "capability": None if capability is None else tuple(capability),
                "providers": tuple(data["providers"]),
            }
        )


def find(work: object, emit: Callable[..., None]) -> None:
    """Emits a Machine. Runs in a process of its own: it imports PyTorch and starts CUDA."""
    modules = _modules()
    torch_cuda, why_not = _torch_cuda()
    machine = Machine(
        **_gpu(built_for_cuda=torch_cuda is not None),
        modules=modules,
        torch_cuda=torch_cuda,
        why_no_torch_cuda=why_not,
        providers=_providers(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        system=platform.platform(),
        python=platform.python_version(),
    )
    emit(machine=asdict(machine))


def _gpu(built_for_cuda: bool) -> dict[str, Any]:
    """The GPU by cuda-bindings or, without them, by PyTorch; or why there is none."""
    reasons = []
    for asks in (_by_driver, *([_by_torch] if built_for_cuda else [])):
        try:
            return {**asks(), "why_no_gpu": ""}
        except ImportError:
            continue
        except Exception as error:  # the driver's library is missing or does not fit
            reasons.append(_why(error))
    return {"why_no_gpu": reasons[0] if reasons else "neither PyTorch for CUDA nor cuda-bindings is installed"}


def _modules() -> dict[str, str]:
    distributions = importlib.metadata.packages_distributions()
    found = {}
    for name in MODULES:
        if importlib.util.find_spec(name) is not None:
            packages = distributions.get(name, [])
            # cuda-python and others share the module cuda: its bindings are what is used here.
            package = "cuda-bindings" if "cuda-bindings" in packages else next(iter(packages), None)
            found[name] = "?" if package is None else importlib.metadata.version(package)
    return found


def _by_driver() -> dict[str, Any]:
    from cuda.bindings import driver

    def call(function: str, *args: Any) -> Any:
        error, *values = getattr(driver, function)(*args)
        if error != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{function} failed with {error.name}")
        return values[0] if values else None

    call("cuInit", 0)
    device = call("cuDeviceGet", 0)
    attributes = driver.CUdevice_attribute
    version = int(call("cuDriverGetVersion"))  # 1000 * major + 10 * minor
    return {
        "gpu": call("cuDeviceGetName", 256, device).split(b"\0")[0].decode(errors="replace"),
        "capability": (
            int(call("cuDeviceGetAttribute", attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)),
            int(call("cuDeviceGetAttribute", attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)),
        ),
        "memory": int(call("cuDeviceTotalMem", device)),
        "driver_cuda": f"{version // 1000}.{version % 1000 // 10}",
    }


def _by_torch() -> dict[str, Any]:
    import torch

    torch.cuda.init()
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "capability": (properties.major, properties.minor),
        "memory": properties.total_memory,
    }


def _why(error: Exception) -> str:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if "NO_DEVICE" in said:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return "there is no NVIDIA GPU" + ("" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})")
    is_missing = "driver library" in said or "libcuda" in said or "no NVIDIA driver" in said  # as each of them says
    return NO_DRIVER if is_missing else f"CUDA does not start ({said})"


def _torch_cuda() -> tuple[str | None, str]:
    try:
        import torch
    except Exception as error:  # missing, or one of its libraries is
        return None, f"PyTorch cannot be imported ({str(error).splitlines()[0][:150]}): pip install torch"
    built = torch.version.cuda
    if built is None:
        return None, f"PyTorch {torch.__version__} is built for CPUs: install the one for CUDA (pytorch.org)"
    try:
        torch.cuda.init()
    except Exception as error:
        return built, f"PyTorch {torch.__version__} cannot use the GPU ({str(error).splitlines()[0][:150]})"
    return built, ""


def _providers() -> tuple[str, ...]:
    try:
        import onnxruntime
    except Exception:  # missing, or it does not load
        return ()
    return tuple(onnxruntime.get_available_providers())


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 - a file of the kernel
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()
