"""Checks that a plan matches its manifest and can run here, before and after it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.backends.cuda import load_cudart
from runtime.engine.gpu import Gpu, find_gpu
from runtime.engine.manifest import Manifest, Plan, Tensor
from runtime.engine.plan_header import CAPABILITIES, is_rtx_plan, read_plan_header
from runtime.engine.reading import rebuild_remedy
from runtime.errors import EngineError, ManifestError


def check_plan(plan: Path, manifest: Manifest) -> Plan:
    """Compare the file with its manifest, without TensorRT or a GPU. Raises ManifestError, EngineError."""
    made = manifest.plan
    if made is None:
        raise ManifestError(f"{plan}: its manifest does not describe a plan: {rebuild_remedy(plan)}")
    content = plan.read_bytes()
    is_rtx = is_rtx_plan(content[:64])
    if is_rtx != (made.flavour == "tensorrt-rtx"):
        found = "a TensorRT-RTX plan" if is_rtx else "not a TensorRT-RTX plan"
        raise EngineError(f"{plan}: is {found}, but its manifest says {made.flavour}: {rebuild_remedy(plan)}")
    if is_rtx:
        header = read_plan_header(plan)
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


def check_gpu(plan: Path, manifest: Manifest) -> Gpu:
    """The GPU that will run the plan. Raises EngineError if the plan was not built for it."""
    made = _made(manifest)
    load_cudart()  # finds GPUs; without it the next message would be wrong
    gpu, why_not = find_gpu()
    if gpu is None:
        remedy = what_runs_without_gpu(plan, manifest)
        raise EngineError(f"{plan}: needs an NVIDIA GPU, but {why_not}; {remedy}")
    if gpu.capability not in made.compute_capabilities:
        option = ""
        if made.flavour == "tensorrt-rtx":
            can_be_built = gpu.capability in CAPABILITIES
            option = f" --compute-capability {gpu.capability}" if can_be_built else " --trt tensorrt"
        raise EngineError(
            f"{plan}: was built for compute capability {', '.join(made.compute_capabilities)}, but this GPU, "
            f"{gpu.name}, has {gpu.capability}: {rebuild_remedy(plan, option)}"
        )
    return gpu


def check_version(plan: Path, manifest: Manifest, installed: str) -> None:
    """Raise EngineError if the installed TensorRT is not the version that built the plan."""
    made = _made(manifest)
    if installed.split(".")[:3] != made.version.split(".")[:3]:
        raise EngineError(
            f"{plan}: was built with {made.flavour} {made.version}, but {installed} is installed, and plans run only "
            f"in the version that built them: {rebuild_remedy(plan)}"
        )


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
    ranges = [(b, t) for b, t in zip(_sizes(manifest.batch), _sizes(manifest.frames), strict=True)]
    expected = {
        manifest.input.name: (trt.TensorIOMode.INPUT, _shape(manifest.input)),
        manifest.output.name: (trt.TensorIOMode.OUTPUT, _shape(manifest.output)),
    }
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    if sorted(names) != sorted(expected):
        raise EngineError(f"{plan}: has tensors {names}, expected {list(expected)}: {rebuild_remedy(plan)}")
    for name, (mode, shape) in expected.items():
        found = (engine.get_tensor_mode(name), engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name)))
        if found != (mode, trt.DataType.FLOAT, shape):
            raise EngineError(
                f"{plan}: {name} is {found[1].name} {found[2]}, but its manifest says FLOAT {shape}: "
                f"{rebuild_remedy(plan)}"
            )
    profile = [tuple(size)[:2] for size in engine.get_tensor_profile_shape(manifest.input.name, 0)]
    if profile != ranges:
        raise EngineError(
            f"{plan}: takes (batch, frames) of {profile}, but its manifest says {ranges}: {rebuild_remedy(plan)}"
        )


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """As TensorRT writes it: -1 for a dynamic axis."""
    return tuple(-1 if isinstance(size, str) else size for size in tensor.shape)


def _sizes(each: Any) -> tuple[int, int, int]:
    return each.min, each.opt, each.max
