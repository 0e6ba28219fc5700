"""Checks that a plan matches its manifest and can run here, before and after it is opened."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

from runtime.backends.cuda import load_cudart
from runtime.engine.gpu import Gpu, find_gpu
from runtime.engine.manifest import Manifest, Plan, Tensor
from runtime.engine.plan_header import CAPABILITIES, LENGTH, header_of, is_rtx_plan
from runtime.engine.reading import rebuild_remedy
from runtime.errors import EngineError, ManifestError

AMPERE = 8  # major compute capability
MOST_GPUS = 64
TOO_SMALL = "use another GPU, or export with a smaller --batch-max or --frames, or with --precision fp16"


def check_plan(plan: Path, content: bytes, manifest: Manifest) -> Plan:
    """Compare the plan with its manifest, without TensorRT or a GPU. Raises ManifestError, EngineError."""
    made = _made(manifest)
    is_rtx = is_rtx_plan(content)
    if is_rtx != (made.flavour == "tensorrt-rtx"):
        found = "a TensorRT-RTX plan" if is_rtx else "not a TensorRT-RTX plan"
        raise EngineError(f"{plan}: is {found}, but its manifest says {made.flavour}: {rebuild_remedy(plan)}")
    if is_rtx:
        header = header_of(plan, content[:LENGTH], len(content))
        if set(header.compute_capabilities) != set(made.compute_capabilities):
            raise ManifestError(
                f"{plan}: was built for compute capability {', '.join(header.compute_capabilities)}, but its manifest "
                f"says {', '.join(made.compute_capabilities)}: {rebuild_remedy(plan)}"
            )
        if manifest.inside_plan().encode() not in content:
            raise ManifestError(
                f"{plan}: the manifest beside it is not the one it was built with: it was edited or replaced: "
                f"{rebuild_remedy(plan)}"
            )
    return made


def check_gpu(plan: Path, manifest: Manifest, index: int = 0) -> Gpu:
    """GPU `index`, which will run the plan. Raises EngineError if the plan does not run on it."""
    made = _made(manifest)
    load_cudart()  # finds GPUs; without it the next message would be wrong
    gpu, why_not = find_gpu(index)
    if gpu is None:
        if index and find_gpu(0)[0] is not None:
            raise EngineError(f"--device cuda:{index}: {_found()}: give the number of one of them")
        remedy = what_runs_without_gpu(plan, manifest)
        raise EngineError(f"{plan}: needs an NVIDIA GPU, but {why_not}; {remedy}")
    if not _runs_on(made, gpu):
        remedy = _remedy_for(plan, made, gpu)
        fitting = [number for number, each in enumerate(_gpus()) if _runs_on(made, each)]
        if fitting:
            remedy = f"use --device cuda:{fitting[0]}, which fits, or {remedy}"
        raise EngineError(f"{plan}: {_misfit(made, gpu)}: {remedy}")
    return gpu


def _runs_on(made: Plan, gpu: Gpu) -> bool:
    if made.hardware == "same-gpu":
        return gpu.name == made.gpu
    if made.hardware == "ampere-plus":
        return int(gpu.capability.split(".")[0]) >= AMPERE
    return gpu.capability in made.compute_capabilities


def _misfit(made: Plan, gpu: Gpu) -> str:
    """What the plan needs, and what `gpu` is."""
    if made.hardware == "same-gpu":
        return f"was built on {made.gpu} and runs on this model only, but this GPU is {gpu.name}"
    capabilities = f"{AMPERE}.0 or later" if made.hardware == "ampere-plus" else ", ".join(made.compute_capabilities)
    return f"was built for compute capability {capabilities}, but this GPU, {gpu.name}, has {gpu.capability}"


def _remedy_for(plan: Path, made: Plan, gpu: Gpu) -> str:
    option = ""
    if made.flavour == "tensorrt-rtx":
        can_be_built = gpu.capability in CAPABILITIES
        option = f" --compute-capability {gpu.capability}" if can_be_built else " --trt tensorrt"
    return rebuild_remedy(plan, option)


def _gpus() -> list[Gpu]:
    """All GPUs of this machine, in CUDA's order."""
    found = (find_gpu(index)[0] for index in range(MOST_GPUS))
    return [gpu for gpu in takewhile(lambda gpu: gpu is not None, found) if gpu is not None]


def _found() -> str:
    names = [f"cuda:{index} is {gpu.name}" for index, gpu in enumerate(_gpus())]
    return f"this machine has {len(names)} GPU{'s' if len(names) > 1 else ''} ({', '.join(names)})"


def check_version(plan: Path, manifest: Manifest, installed: str) -> None:
    """Raise EngineError if the installed TensorRT cannot run the plan: it must be the version that built it.

    For a version-compatible plan it may also be a later one of the same major version.
    """
    made = _made(manifest)
    if installed.split(".")[:3] == made.version.split(".")[:3]:
        return
    which = "the version that built them"
    if made.version_compatible:
        built, found = (_numbers(each) for each in (made.version, installed))
        if found[:1] == built[:1] and found > built:
            return
        which = f"TensorRT {made.version} or a later {made.version.split('.')[0]}"
    raise EngineError(
        f"{plan}: was built with {made.flavour} {made.version}, but {installed} is installed, and "
        f"{'this plan runs' if made.version_compatible else 'plans run'} only in {which}: {rebuild_remedy(plan)}"
    )


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:3] if part.isdecimal()]


def check_validity(trt: Any, runtime: Any, content: bytes, plan: Path, gpu: Gpu) -> list[str]:
    """Ask TensorRT-RTX whether it can run the plan here, and return notes about that. Raises EngineError if it cannot.

    Releases that cannot be asked are not: the plan is then simply opened.
    """
    if not hasattr(runtime, "get_engine_validity"):
        return []
    validity, bits = runtime.get_engine_validity(content)
    if validity == trt.EngineValidity.INVALID:
        rebuild = rebuild_remedy(plan)
        remedies = {
            "VERSION_MISMATCH": f"it was built by another version of TensorRT-RTX: {rebuild}",
            "UNSUPPORTED_CC": (
                f"it is not for {gpu.name}: {rebuild_remedy(plan, f' --compute-capability {gpu.capability}')}"
            ),
            "OLD_CUDA_DRIVER": "the NVIDIA driver is too old: update it",
            "OLD_CUDA_RUNTIME": "the CUDA runtime is too old: pip install --upgrade 'bsmamba2[tensorrt-rtx]'",
            "INSUFFICIENT_GPU_MEMORY": f"{gpu.name} has too little memory: {TOO_SMALL}",
            "MALFORMED_ENGINE": f"it is damaged: {rebuild}",
            "CUDA_ERROR": "CUDA does not work: install the NVIDIA driver again",
        }
        known = trt.EngineInvalidityDiagnostics.__members__
        reasons = [words for name, words in remedies.items() if name in known and bits & int(known[name])]
        raise EngineError(
            f"{plan}: TensorRT-RTX cannot run it here: "
            f"{'; '.join(reasons) or f'it gives no known reason ({bits:#x}): {rebuild}'}"
        )
    if validity == trt.EngineValidity.SUBOPTIMAL:
        only = rebuild_remedy(plan, f" --compute-capability {gpu.capability}")
        return [f"TensorRT-RTX expects this plan to be slower here than one for this GPU alone: {only}"]
    return []


def _made(manifest: Manifest) -> Plan:
    if manifest.plan is None:
        raise ManifestError("the manifest does not describe a plan")
    return manifest.plan


def what_runs_without_gpu(plan: Path, manifest: Manifest) -> str:
    """The remedy for a plan on a machine without a GPU, for errors."""
    graph = plan.with_suffix(".onnx")
    if graph.is_file() and manifest.precision != "bf16":
        return f"{graph.name} runs here: bsm-run {graph} SONG"
    return "export the checkpoint with --precision fp32 and without --trt for an engine that runs here"


def check_engine(trt: Any, engine: Any, plan: Path, manifest: Manifest) -> None:
    """Raise an error if the opened engine does not match its manifest: name, tensors, types, shapes and ranges."""
    if engine.name != manifest.inside_plan():
        raise ManifestError(
            f"{plan}: the manifest beside it is not the one it was built with: it was edited or replaced: "
            f"{rebuild_remedy(plan)}"
        )
    expected = {
        manifest.input.name: (trt.TensorIOMode.INPUT, _shape(manifest.input)),
        manifest.output.name: (trt.TensorIOMode.OUTPUT, _shape(manifest.output)),
    }
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    if sorted(names) != sorted(expected):
        raise EngineError(f"{plan}: has tensors {names}, expected {list(expected)}: {rebuild_remedy(plan)}")
    only_batch = manifest.batch.max if manifest.batch.min == manifest.batch.max else -1
    for name, (mode, shape) in expected.items():
        sizes = tuple(engine.get_tensor_shape(name))
        if sizes[:1] == (only_batch,):  # of an axis with one size, TensorRT may write that size
            sizes = (-1, *sizes[1:])
        found = (engine.get_tensor_mode(name), engine.get_tensor_dtype(name), sizes)
        if found != (mode, trt.DataType.FLOAT, shape):
            raise EngineError(
                f"{plan}: {name} is {found[1].name} {found[2]}, but its manifest says FLOAT {shape}: "
                f"{rebuild_remedy(plan)}"
            )
    profile = tuple(tuple(size) for size in engine.get_tensor_profile_shape(manifest.input.name, 0))
    if profile != manifest.input_shapes:
        raise EngineError(
            f"{plan}: takes {manifest.input.name} of {profile}, but its manifest says {manifest.input_shapes}: "
            f"{rebuild_remedy(plan)}"
        )


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """As TensorRT writes it: -1 for a dynamic axis."""
    return tuple(-1 if isinstance(size, str) else size for size in tensor.shape)
