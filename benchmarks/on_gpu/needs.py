"""What a contender needs, each as a question to a machine: why it is not met, in words, or "" if it is."""

from __future__ import annotations

from collections.abc import Callable

from on_gpu.machine import Machine

Need = Callable[[Machine], str]

# What bsm-export imports, and what the runtime does.
OF_EXPORT = (
    *("onnx", "onnx_ir", "onnxscript", "ml_dtypes", "safetensors", "yaml", "httpx", "filelock", "platformdirs"),
    *("soundfile", "soxr", "typer", "rich", "onnxruntime"),
)
PLANS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # flavour -> module


def gpu(machine: Machine) -> str:
    return machine.why_no_gpu if machine.gpu is None else ""


def torch(machine: Machine) -> str:
    """PyTorch for CUDA."""
    return machine.why_no_torch_cuda


def at_least(major: int, minor: int, reason: str) -> Need:
    """A GPU of this compute capability or later."""

    def need(machine: Machine) -> str:
        has = machine.capability
        if has is None or has >= (major, minor):
            return ""
        return f"{machine.gpu} has compute capability {has[0]}.{has[1]}: {reason}"

    return need


bfloat16 = at_least(8, 0, "bfloat16 needs 8.0")
fused_kernel = at_least(8, 0, "the fused scan needs 8.0")


def module(name: str, remedy: str) -> Need:
    def need(machine: Machine) -> str:
        return "" if name in machine.modules else f"{name} is not installed: {remedy}"

    return need


triton = module("triton", "pip install triton")
cuda_bindings = module("cuda", "pip install cuda-bindings")


def mamba_ssm(machine: Machine) -> str:
    missing = [name for name in ("mamba_ssm", "causal_conv1d") if name not in machine.modules]
    remedy = "pip install --no-build-isolation mamba-ssm causal-conv1d"
    return f"{' and '.join(missing)} not installed: {remedy}" if missing else ""


def export(machine: Machine) -> str:
    """What makes ONNX files."""
    missing = [name for name in OF_EXPORT if name not in machine.modules]
    if not missing:
        return ""
    verb = "is" if len(missing) == 1 else "are"
    return f"{', '.join(missing)} {verb} not installed: pip install '.[export,cuda]' in a clone"


def provider(name: str, remedy: str) -> Need:
    """A provider of ONNX Runtime."""

    def need(machine: Machine) -> str:
        return "" if name in machine.providers else f"this ONNX Runtime has no {name}: {remedy}"

    return need


def plans(flavour: str) -> Need:
    """What builds and runs plans of `flavour`."""
    has_module = module(PLANS[flavour], f"pip install '.[{flavour}]' in a clone")
    has_cuda = module("cuda", f"pip install '.[{flavour}]' in a clone")
    return lambda machine: has_module(machine) or has_cuda(machine)
