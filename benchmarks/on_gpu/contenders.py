"""All ways to run the network or its scan on a GPU, the most valuable first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from on_gpu import needs
from on_gpu.machine import Machine
from on_gpu.needs import Need

TORCH, ENGINE, PLAN, SCAN = "on_gpu.torch_forms:TorchSession", "on_gpu.engines:onnx", "on_gpu.engines:plan", "scan"
RTX_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"


@dataclass(frozen=True)
class Step:
    """Files that contenders share, made in a process of their own before the first of them is measured."""

    name: str
    call: str
    options: dict[str, Any]
    limit: float = 400.0  # seconds


@dataclass(frozen=True)
class Contender:
    name: str
    group: str  # "network" or "scan"
    call: str  # "module:function", which opens a network or emits what it finds of a scan
    options: dict[str, Any]
    needs: tuple[Need, ...]
    steps: tuple[Step, ...] = ()
    limit: float = 240.0  # seconds
    kinds: str = ""  # only for networks with "mamba" in their kind, if not empty
    precision: str = field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", self.options["precision"])

    def why_not(self, machine: Machine, kind: str) -> str:
        """All that it lacks on this machine, or ""."""
        if self.kinds not in kind:
            return f"a network of kind {kind} has no scan"
        needed = (*self.needs, *([needs.bfloat16] if self.precision == "bf16" else []))
        return "; ".join(dict.fromkeys(filter(None, (need(machine) for need in needed))))


def _torch(what: str, precision: str, *more: Need, limit: float = 240.0, kinds: str = "", **options: Any) -> Contender:
    options["precision"] = precision
    return Contender(
        f"PyTorch {what}, {precision}", "network", TORCH, options, (needs.gpu, needs.torch, *more), (), limit, kinds
    )


def eager(precision: str) -> Contender:
    return _torch("eager", precision)


def compiled(precision: str) -> Contender:
    return _torch("compiled", precision, needs.triton, limit=420.0, compiled=True)


def fused(precision: str) -> Contender:
    more = (needs.triton, needs.fused_kernel)
    return _torch("with the fused scan", precision, *more, kinds="mamba", scan="fused")


def mamba_ssm(precision: str) -> Contender:
    return _torch("with mamba-ssm's kernels", precision, needs.mamba_ssm, kinds="mamba", scan="kernel")


def graph(precision: str, scan: str, io: str) -> Step:
    options = {"precision": precision, "scan": scan, "io": io}
    return Step(f"{precision} {scan} {io} graph", "on_gpu.making:make_graph", options)


def plan(flavour: str, precision: str, scan: str = "chunked", io: str = "wave") -> Contender:
    options = {"precision": precision, "scan": scan, "io": io, "flavour": flavour}
    built = Step(f"{precision} {scan} {io} plan of {flavour}", "on_gpu.making:make_plan", options)
    steps = (built,) if scan == "plugin" else (graph(precision, scan, io), built)
    more = (needs.fused_kernel,) if scan == "plugin" else ()
    kinds = "mamba" if scan == "plugin" else ""
    what = {"tensorrt": "TensorRT plan", "tensorrt-rtx": "TensorRT-RTX plan"}[flavour]
    name = f"{what}{', fused scan' if scan == 'plugin' else ''}, {io}, {precision}"
    all_needs = (needs.gpu, needs.export, needs.plans(flavour), *more)
    return Contender(name, "network", PLAN, options, all_needs, steps, 240.0, kinds)


def onnx_runtime(name: str, device: str, precision: str, io: str, *more: Need, **options: Any) -> Contender:
    options = {"precision": precision, "io": io, "device": device, **options}
    steps = (graph(precision, "chunked", io),)
    needed = (needs.gpu, needs.export, *more)
    return Contender(f"ONNX Runtime, {name}, {io}, {precision}", "network", ENGINE, options, needed, steps, 300.0)


def ort_cuda(precision: str, io: str = "wave") -> Contender:
    need = needs.provider("CUDAExecutionProvider", "pip install '.[cuda]' in a clone")
    return onnx_runtime("CUDA", "cuda", precision, io, need)


def ort_tensorrt(precision: str) -> Contender:
    remedy = "pip install '.[cuda]' 'tensorrt-cu13>=10.13,<11' in a clone"
    need = needs.provider("TensorrtExecutionProvider", remedy)
    return onnx_runtime("TensorRT", "tensorrt", precision, "wave", need, plugin=False)


def ort_rtx(precision: str) -> Contender:
    need = needs.module(RTX_PLUGIN, "pip install '.[run,onnxruntime-tensorrt-rtx]' in a clone")
    return onnx_runtime("TensorRT-RTX", "tensorrt", precision, "wave", need, plugin=True)


def scan(form: str, precision: str) -> Contender:
    """A scan alone, on sequences of the network's own sizes."""
    of_form: dict[str, tuple[str, tuple[Need, ...]]] = {
        "ptx": (
            "PTX through the driver",
            (needs.cuda_bindings, needs.fused_kernel),
        ),
        "fused": ("Triton", (needs.triton, needs.fused_kernel)),
        "kernel": ("mamba-ssm", (needs.mamba_ssm,)),
        "chunked": ("PyTorch, chunked", ()),
    }
    name, more = of_form[form]
    options = {"form": form, "precision": precision}
    call = "on_gpu.scans:measure"
    return Contender(
        f"scan: {name}, {precision}", "scan", call, options, (needs.gpu, needs.torch, *more), (), 180.0, "mamba"
    )


def contenders(device: str = "cuda") -> list[Contender]:
    """The most valuable first, as the time on a GPU may be short; `device` "cpu" is a rehearsal.

    Engines take and give waveforms, as users get them; those of spectrograms, which show what the STFT inside costs,
    come where time is left.
    """
    if device == "cpu":
        return _rehearsal()
    first = [eager("fp32"), scan("chunked", "fp16"), scan("ptx", "fp16"), eager("fp16"), fused("fp16")]
    half = [
        plan("tensorrt", "fp16"),
        plan("tensorrt-rtx", "fp16"),
        compiled("fp16"),
        plan("tensorrt", "fp16", "plugin"),
        scan("fused", "fp16"),
        mamba_ssm("fp16"),
        scan("kernel", "fp16"),
        ort_cuda("fp16"),
        ort_rtx("fp16"),
        ort_tensorrt("fp16"),
    ]
    # Engines and plans in float32 are what users get who ask for nothing else.
    single = [plan("tensorrt", "fp32"), plan("tensorrt-rtx", "fp32"), ort_cuda("fp32"), compiled("fp32")]
    brain = [
        eager("bf16"),
        fused("bf16"),
        plan("tensorrt", "bf16"),
        plan("tensorrt-rtx", "bf16"),
        plan("tensorrt", "bf16", "plugin"),
        compiled("bf16"),
        mamba_ssm("bf16"),
    ]
    scans = [scan(form, "bf16") for form in ("ptx", "fused", "chunked", "kernel")]
    others = [ort_rtx("fp32"), ort_tensorrt("fp32"), *scans, scan("chunked", "fp32")]
    spectra = [
        *(plan(flavour, "fp16", io="spectrum") for flavour in ("tensorrt", "tensorrt-rtx")),
        plan("tensorrt", "fp16", "plugin", "spectrum"),
        ort_cuda("fp16", "spectrum"),
        *(plan(flavour, "fp32", io="spectrum") for flavour in ("tensorrt", "tensorrt-rtx")),
        ort_cuda("fp32", "spectrum"),
    ]
    return [*first, *half, *single, *brain, *others, *spectra]


def _rehearsal() -> list[Contender]:
    """What a CPU can run of them, to check this program."""
    forms = [
        Contender(f"PyTorch eager, {precision}", "network", TORCH, {"precision": precision}, ())
        for precision in ("fp32", "bf16")
    ]
    options = {"form": "chunked", "precision": "fp32"}
    forms.append(Contender("scan: PyTorch, chunked, fp32", "scan", "on_gpu.scans:measure", options, (), kinds="mamba"))
    for io in ("wave", "spectrum"):
        options = {"precision": "fp32", "io": io, "device": "cpu"}
        steps = (graph("fp32", "chunked", io),)
        forms.append(Contender(f"ONNX Runtime, {io}, fp32", "network", ENGINE, options, (needs.export,), steps))
    return forms
