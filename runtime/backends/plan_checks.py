"""Whether a plan is what its manifest says and can run here: asked before it is opened, and again once it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.backends.cuda import load_cudart
from runtime.engine.gpu import Gpu, find_gpu
from runtime.engine.manifest import Manifest, Plan, Tensor, rebuild_remedy
from runtime.engine.plan_header import CAPABILITIES, is_rtx_plan, read_plan_header
from runtime.errors import EngineError, ManifestError


def check_plan(plan: Path, manifest: Manifest) -> Plan:
    """Compare the file with its manifest. Needs neither TensorRT nor a GPU. Raises ManifestError, EngineError."""
    made = manifest.plan
    if made is None:
        raise ManifestError(f"{plan}: its manifest describes no plan: {rebuild_remedy(plan)}")
    content = plan.read_bytes()
    is_rtx = is_rtx_plan(content[:64])
    if is_rtx != (made.flavour == "tensorrt-rtx"):
        found = "a plan of TensorRT-RTX" if is_rtx else "no plan of TensorRT-RTX"
        raise EngineError(f"{plan}: is {found}, its manifest says {made.flavour}: {rebuild_remedy(plan)}")
    if is_rtx:
        header = read_plan_header(plan)
        if set(header.compute_capabilities) != set(made.compute_capabilities):
            raise ManifestError(
                f"{plan}: was built for compute capability {', '.join(header.compute_capabilities)}, its manifest says "
                f"{', '.join(made.compute_capabilities)}: {rebuild_remedy(plan)}"
            )
        if manifest.inside_plan().encode() not in content:
            raise ManifestError(
                f"{plan}: its manifest is not the one it was built with: it was edited or mixed up with another; "
                f"{rebuild_remedy(plan)}"
            )
    return made


def check_gpu(plan: Path, manifest: Manifest) -> Gpu:
    """The GPU the plan is going to run on. Raises EngineError unless it is one the plan was built for."""
    made = _made(manifest)
    load_cudart()  # without it nobody knows whether there is one
    gpu, why_not = find_gpu()
    if gpu is None:
        remedy = what_runs_without_gpu(plan, manifest)
        raise EngineError(f"{plan}: needs an NVIDIA GPU, and there is none here ({why_not}): {remedy}")
    if gpu.capability not in made.compute_capabilities:
        option = ""
        if made.flavour == "tensorrt-rtx":
            can_be_built = gpu.capability in CAPABILITIES
            option = f" --compute-capability {gpu.capability}" if can_be_built else " --trt tensorrt"
        raise EngineError(
            f"{plan}: was built for compute capability {', '.join(made.compute_capabilities)}, this GPU, {gpu.name}, "
            f"has {gpu.capability}: {rebuild_remedy(plan, option)}"
        )
    return gpu


def check_version(plan: Path, manifest: Manifest, installed: str) -> None:
    """Raise EngineError unless the TensorRT installed is the version that built the plan."""
    made = _made(manifest)
    if installed.split(".")[:3] != made.version.split(".")[:3]:
        raise EngineError(
            f"{plan}: was built with {made.flavour} {made.version}, installed is {installed}, and plans do not run in "
            f"another version: {rebuild_remedy(plan)}"
        )


def _made(manifest: Manifest) -> Plan:
    if manifest.plan is None:
        raise ManifestError("the manifest describes no plan")
    return manifest.plan


def what_runs_without_gpu(plan: Path, manifest: Manifest) -> str:
    """What to do about a plan where there is no GPU, as the end of an error."""
    graph = plan.with_suffix(".onnx")
    if graph.is_file() and manifest.precision != "bf16":
        return f"{graph.name} runs here: bsm-run {graph} SONG"
    return "export the checkpoint with --precision fp32 and without --trt for an engine that runs here"


def check_engine(trt: Any, engine: Any, plan: Path, manifest: Manifest) -> None:
    """Raise an error unless the opened engine is its manifest's: name, tensors, types, shapes and ranges."""
    if engine.name != manifest.inside_plan():
        raise ManifestError(
            f"{plan}: its manifest is not the one it was built with: it was edited or mixed up with another; "
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
                f"{plan}: {name} is {found[1].name} {found[2]}, its manifest says FLOAT {shape}: {rebuild_remedy(plan)}"
            )
    profile = [tuple(size)[:2] for size in engine.get_tensor_profile_shape(manifest.input.name, 0)]
    if profile != ranges:
        raise EngineError(
            f"{plan}: takes (batch, frames) of {profile}, its manifest says {ranges}: {rebuild_remedy(plan)}"
        )


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """As TensorRT says it: -1 for a dynamic axis."""
    return tuple(-1 if isinstance(size, str) else size for size in tensor.shape)


def _sizes(each: Any) -> tuple[int, int, int]:
    return each.min, each.opt, each.max
