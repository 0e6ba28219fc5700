"""Which plan is built, decided before the work starts: options, GPU, driver and installed packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from export.errors import ExportError
from runtime.backends.cuda import load_cudart
from runtime.engine.flavours import bindings
from runtime.engine.gpu import Gpu, find_gpu
from runtime.engine.manifest import FLAVOURS
from runtime.engine.plan_header import CAPABILITIES
from runtime.errors import EngineError

DEFAULT_CAPABILITIES = ("8.6", "8.9", "12.0")  # of a TensorRT-RTX plan: RTX 30, 40 and 50
UNLISTED = "8.0"  # TensorRT-RTX builds for it, but NVIDIA does not list it
TURING = "7.5"
HARDWARE = {  # value of --hardware-compatibility -> the manifest's word
    "none": "same-gpu",
    "same-compute-capability": "same-compute-capability",
    "ampere-plus": "ampere-plus",
}
MOST_LEVEL = 5
MOST_WORKSPACE = 10_000.0  # gigabytes
ANOTHER_GPU = "CUDA_VISIBLE_DEVICES chooses among several"


@dataclass(frozen=True)
class Asked:
    """What the user asks of a plan; None or empty: not given."""

    flavour: str | None = None  # or "auto"
    compute_capabilities: tuple[str, ...] = ()
    workspace: float | None = None  # GPU memory the builder may use, in gigabytes
    timing_cache: Path | None = None  # read if it exists, written after the build
    hardware: str | None = None  # a key of HARDWARE
    optimization_level: int | None = None  # 0 to 5
    version_compatible: bool = False


@dataclass(frozen=True)
class Build:
    """How to build a plan. Made by `plan_build`, which checks that this machine can build it."""

    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    gpu: Gpu | None  # of this machine
    why_no_gpu: str  # a clause, if there is none
    workspace: int | None = None  # bytes the builder may use on the GPU; None: TensorRT's default
    timing_cache: Path | None = None  # the rest is for full TensorRT only
    hardware: str | None = None  # one of the manifest's words
    optimization_level: int | None = None  # None: TensorRT's default
    version_compatible: bool = False
    plugin: bool = False  # the scans are export.plan.scan_plugin
    notes: tuple[str, ...] = ()  # for the user, before the work starts

    @property
    def why_not_run(self) -> str:
        """Why the plan cannot be run on this machine, or "" if it can."""
        if self.gpu is None:
            return self.why_no_gpu
        if self.gpu.capability not in self.compute_capabilities:
            return f"this GPU, {self.gpu.name}, has compute capability {self.gpu.capability}"
        return ""


def plan_build(asked: Asked, precision: str, scan: str = "chunked") -> Build:
    """The build that is asked for, of a network in `precision` with this `scan`, if this machine can do it.

    The flavour "auto" is full TensorRT if it is installed, there is a GPU and no other GPU is asked for; otherwise
    TensorRT-RTX. Raises ExportError that says what is missing or does not go together.
    """
    wanted = asked.flavour or "auto"
    if wanted not in ("auto", *FLAVOURS):
        raise ExportError(f"--trt {wanted}: must be auto, {' or '.join(FLAVOURS)}")
    _check_values(asked)
    gpu, why_not = find_gpu()
    flavour, trt = _choose(wanted, gpu, why_not, asked.compute_capabilities)
    if scan == "plugin":
        _require_plugin(flavour, precision, gpu)
    notes: list[str] = []
    if flavour == "tensorrt":
        targets = _of_this_gpu(asked, precision, gpu, why_not)
    else:
        _refuse_options_of_full_tensorrt(asked)
        targets, notes = _of_rtx(asked.compute_capabilities, precision, gpu)
    return Build(
        flavour=flavour,
        version=str(trt.__version__),
        compute_capabilities=targets,
        gpu=gpu,
        why_no_gpu=why_not,
        workspace=None if asked.workspace is None else max(1, int(asked.workspace * 1e9)),
        timing_cache=asked.timing_cache,
        hardware=HARDWARE[asked.hardware or "none"] if flavour == "tensorrt" else None,
        optimization_level=asked.optimization_level,
        version_compatible=asked.version_compatible,
        plugin=scan == "plugin",
        notes=tuple(f"note: {each}" for each in notes),
    )


def _check_values(asked: Asked) -> None:
    """Raise ExportError for a value that is wrong with any TensorRT."""
    space, level, cache = asked.workspace, asked.optimization_level, asked.timing_cache
    if space is not None and not 0 < space <= MOST_WORKSPACE:
        raise ExportError(f"--workspace {space}: must be gigabytes above 0, at most {MOST_WORKSPACE:.0f}")
    if asked.hardware is not None and asked.hardware not in HARDWARE:
        *others, last = HARDWARE
        raise ExportError(f"--hardware-compatibility {asked.hardware}: must be {', '.join(others)} or {last}")
    if level is not None and not 0 <= level <= MOST_LEVEL:
        raise ExportError(f"--optimization-level {level}: must be from 0 to {MOST_LEVEL}")
    if cache is not None and (cache.is_dir() or not cache.parent.is_dir()):
        raise ExportError(f"--timing-cache {cache}: must be a file name in an existing folder")


def _choose(wanted: str, gpu: Gpu | None, why_not: str, given: tuple[str, ...]) -> tuple[str, ModuleType]:
    """The flavour and its module; `given` are the compute capabilities asked for."""
    if wanted != "auto":
        return _bindings(wanted)
    if gpu is None or any(each != gpu.capability for each in given):
        try:
            return _bindings("tensorrt-rtx")
        except ExportError as error:
            if gpu is not None:
                raise
            raise ExportError(f"{error}; full TensorRT needs a GPU, but {why_not}") from error
    try:
        return _bindings("tensorrt")
    except ExportError as error:
        if gpu.capability not in CAPABILITIES:
            raise ExportError(
                f"{error}; TensorRT-RTX does not support this GPU, {gpu.name} ({gpu.capability}): to build for other "
                "GPUs use --trt tensorrt-rtx"
            ) from error
        try:
            return _bindings("tensorrt-rtx")
        except ExportError as another:
            raise ExportError(f"{error}; {another}") from another


def _bindings(flavour: str) -> tuple[str, ModuleType]:
    try:
        return flavour, bindings(flavour)
    except EngineError as error:
        raise ExportError(f"--trt {flavour}: {error}") from error


def _require_plugin(flavour: str, precision: str, gpu: Gpu | None) -> None:
    """Raise ExportError unless the kernel of `--scan plugin` can be used."""
    instead = "or export with --scan chunked"
    if flavour != "tensorrt":
        raise ExportError(
            "--scan plugin: TensorRT-RTX takes no plugins: use --trt tensorrt on the machine with the GPU, " + instead
        )
    if precision == "fp32":
        raise ExportError(f"--scan plugin: the kernel computes in fp16 or bf16: use --precision fp16, {instead}")
    if gpu is not None and int(gpu.capability.split(".")[0]) < 8:
        raise ExportError(
            f"--scan plugin: the kernel needs compute capability 8.0 or later, and {gpu.name} has {gpu.capability}: "
            "export with --scan chunked"
        )


def _of_this_gpu(asked: Asked, precision: str, gpu: Gpu | None, why_not: str) -> tuple[str, ...]:
    """The compute capability of the GPU here, which is all that full TensorRT builds for."""
    load_cudart()  # finds GPUs; without it the next message would be wrong
    if gpu is None:
        raise ExportError(
            f"--trt tensorrt: needs the GPU that the plan is for, but {why_not}; run it on the machine with that GPU, "
            "or use --trt tensorrt-rtx, which needs no GPU"
        )
    if any(each != gpu.capability for each in asked.compute_capabilities):
        raise ExportError(
            f"--compute-capability: full TensorRT builds only for the GPU it runs on, {gpu.name} ({gpu.capability}; "
            f"{ANOTHER_GPU}): leave it out, or use --trt tensorrt-rtx"
        )
    if gpu.capability == TURING and precision == "bf16":
        raise ExportError(f"--precision bf16: {gpu.name} ({TURING}) has no bfloat16: use --precision fp16 or fp32")
    if asked.hardware == "ampere-plus" and int(gpu.capability.split(".")[0]) < 8:
        raise ExportError(
            f"--hardware-compatibility ampere-plus: must be built on a GPU of compute capability 8.0 or later, and "
            f"{gpu.name} has {gpu.capability}: use same-compute-capability"
        )
    return (gpu.capability,)


def _refuse_options_of_full_tensorrt(asked: Asked) -> None:
    given = {
        "--timing-cache": (asked.timing_cache is not None, "TensorRT-RTX measures no timings when it builds"),
        "--hardware-compatibility": (
            asked.hardware is not None,
            "a plan of TensorRT-RTX runs on all GPUs of the compute capabilities it is built for",
        ),
        "--optimization-level": (
            asked.optimization_level is not None,
            "TensorRT-RTX builds the same plan at every level",
        ),
        "--version-compatible": (
            asked.version_compatible,
            "plans of TensorRT-RTX run only in the version that built them",
        ),
    }
    for option, (is_given, reason) in given.items():
        if is_given:
            raise ExportError(f"{option}: {reason}: leave it out, or use --trt tensorrt on a machine with the GPU")


def _of_rtx(given: tuple[str, ...], precision: str, gpu: Gpu | None) -> tuple[tuple[str, ...], list[str]]:
    """The compute capabilities that TensorRT-RTX builds for, and notes about them."""
    for each in given:
        if each not in CAPABILITIES:
            hint = "; for H100 and H200 use --trt tensorrt on that machine" if each == "9.0" else ""
            raise ExportError(
                f"--compute-capability {each}: must be one of {', '.join(CAPABILITIES)} for TensorRT-RTX{hint}"
            )
    if TURING in given and precision != "fp16":
        raise ExportError(
            f"--compute-capability {TURING}: TensorRT-RTX has only fp16 for it, not {precision}: use --precision fp16"
        )
    notes, here = [], ""
    if not given and gpu is not None:
        if gpu.capability not in CAPABILITIES:
            notes.append(
                f"the plan will not run on this GPU, {gpu.name} ({gpu.capability}), which TensorRT-RTX does not "
                "support: --trt tensorrt builds one for it"
            )
        elif gpu.capability == TURING and precision != "fp16":
            notes.append(
                f"the plan will not run on this GPU, {gpu.name} ({TURING}), for which TensorRT-RTX has only fp16: "
                "use --precision fp16"
            )
        else:
            here = gpu.capability
    targets = tuple(dict.fromkeys(given or (*DEFAULT_CAPABILITIES, *([here] if here else []))))
    if UNLISTED in targets:
        notes.append(
            f"compute capability {UNLISTED} (A100) is not on NVIDIA's list for TensorRT-RTX: it can be built for, but "
            "may not run there; prefer --trt tensorrt on a machine with that GPU"
        )
    return targets, notes
