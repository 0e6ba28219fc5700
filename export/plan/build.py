"""From NAME.onnx to NAME.plan by the builder of TensorRT or TensorRT-RTX, with the same code.

The graph states the precision of every tensor (`bsmamba2.networks.precision`): the TensorRT network is strongly typed,
and no precision flags are set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.plan.choose import Build
from export.plan.scan_plugin import register_scan, require_plugin
from export.plan.sums import accumulate_in_float32
from export.plan.watched import Progress, run_builder
from runtime.engine.flavours import bindings, quiet_logger
from runtime.engine.manifest import INPUT_NAME
from runtime.engine.plan_header import is_rtx_plan, read_plan_header

Shapes = Sequence[tuple[int, ...]]

SHOWN = 3  # parse errors in a message
NO_PROBES = "a TensorRT plan has no intermediate outputs"
# The manifest's word for the GPUs of a plan -> the level of full TensorRT
LEVELS = {
    "same-gpu": "NONE",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
    "ampere-plus": "AMPERE_PLUS",
}


def build_plan(
    graph: Path, plan: Path, label: str, shapes: Shapes, build: Build, progress: Progress | None = None
) -> int | None:
    """Write the TensorRT plan of the ONNX file `graph` to `plan`, with `label` as the network's name.

    `shapes` are the smallest, the usual and the largest of its input.

    Returns the GPU memory for intermediate results in bytes, if the builder tells it. Ctrl-C stops the builder. Raises
    ExportError if the graph cannot be parsed or built, or if the plan's header does not name the GPUs asked for, and
    what `progress` raises, which stops the builder too.
    """
    trt: Any = bindings(build.flavour)
    logger = quiet_logger(trt)
    try:
        builder = trt.Builder(logger)
    except Exception as error:  # the bindings raise a TypeError if the library returns no builder
        raise ExportError(f"{build.flavour} {build.version} does not start ({logger.first()})") from error
    if build.plugin:
        register_scan(trt)
    network = builder.create_network(_network_flags(trt, build))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise ExportError(f"{build.flavour} {build.version} cannot parse {graph.name}: {_parse_errors(parser)}")
    if build.plugin:
        require_plugin(trt, network)
    accumulate_in_float32(trt, network)
    network.name = label
    if network.name != label:
        raise ExportError(
            f"{build.flavour} {build.version} cannot store a manifest of {len(label)} characters in a plan: use fewer "
            "sub-bands, fewer or shorter stem names, or a shorter file name of the checkpoint"
        )

    config = _config(trt, builder, build)
    cache = _set_timing_cache(config, build.timing_cache, logger)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT_NAME, *shapes)
    config.add_optimization_profile(profile)

    logger.errors.clear()  # errors from here on belong to the build
    blob = run_builder(trt, builder, network, config, progress, build.gpu if build.flavour == "tensorrt" else None)
    if blob is None:
        said = logger.first()
        remedy = ""
        if "memory" in said.lower() or "workspace" in said.lower():
            remedy = ": use a larger --workspace" if build.workspace else ": use a smaller --batch-max or --frames"
        raise ExportError(f"{build.flavour} {build.version} built no plan ({said}){remedy}")
    with plan.open("wb") as file:
        file.write(blob)
    check_plan(plan, label, build)
    if cache is not None and build.timing_cache is not None:
        _write_timing_cache(cache, build.timing_cache, logger)
    activations: int | None = logger.activations
    return activations


def _network_flags(trt: Any, build: Build) -> int:
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    if build.plugin:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS)
    return flags


def _config(trt: Any, builder: Any, build: Build) -> Any:
    """What the builder is told besides the network and its sizes."""
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: float32 products would keep 10 bits of 23
    if build.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, build.workspace)
    if build.flavour == "tensorrt-rtx":
        config.num_compute_capabilities = len(build.compute_capabilities)
        for i, each in enumerate(build.compute_capabilities):
            capability = getattr(trt.ComputeCapability, "SM" + each.replace(".", ""), None)
            if capability is None or not config.set_compute_capability(capability, i):
                raise ExportError(f"--compute-capability {each}: tensorrt-rtx {build.version} does not support it")
        return config
    config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, LEVELS[build.hardware or "same-gpu"])
    if build.optimization_level is not None:
        config.builder_optimization_level = build.optimization_level
    if build.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)  # it is installed where the plan runs
    # Lets the runtime take memory for the shape in use instead of the largest one; not in TensorRT 10.9.
    resize = getattr(trt.PreviewFeature, "RUNTIME_ACTIVATION_RESIZE_10_10", None)
    if resize is not None:
        config.set_preview_feature(resize, True)
    return config


def check_plan(plan: Path, label: str, build: Build) -> None:
    """Raise ExportError unless the plan just written names the GPUs asked for and contains its manifest."""
    if build.flavour == "tensorrt":
        with plan.open("rb") as file:
            if is_rtx_plan(file.read(64)):
                raise ExportError(f"{plan.name}: full TensorRT returned a plan of TensorRT-RTX: nothing was written")
        return
    header = read_plan_header(plan)
    if set(header.compute_capabilities) != set(build.compute_capabilities):
        raise ExportError(
            f"{plan.name}: its header names compute capabilities {', '.join(header.compute_capabilities)}, not "
            f"{', '.join(build.compute_capabilities)}: nothing was written"
        )
    if label.encode() not in plan.read_bytes():
        raise ExportError(f"{plan.name}: does not contain its manifest: nothing was written")


def _parse_errors(parser: Any) -> str:
    shown = []
    for i in range(min(parser.num_errors, SHOWN)):
        error = parser.get_error(i)
        said = str(error.desc()).strip().splitlines()
        shown.append(
            f"{error.node_operator() or 'graph'} {error.node_name() or '(no name)'}: {said[0] if said else '?'}"
        )
    more = parser.num_errors - SHOWN
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _set_timing_cache(config: Any, path: Path | None, logger: Any) -> Any:
    if path is None:
        return None
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise ExportError(f"--timing-cache {path}: cannot be read ({error.strerror})") from error
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        raise ExportError(
            f"--timing-cache {path}: not a timing cache of this TensorRT and GPU ({logger.first()}): use another file "
            "name"
        )
    return cache


def _write_timing_cache(cache: Any, path: Path, logger: Any) -> None:
    content = cache.serialize()
    if content is None:
        raise ExportError(f"--timing-cache {path}: TensorRT gave no timings ({logger.first()}): leave it out")
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise ExportError(f"--timing-cache {path}: cannot be written ({error.strerror}): no plan was kept") from error
    finally:
        part.unlink(missing_ok=True)
