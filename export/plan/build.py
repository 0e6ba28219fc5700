"""From NAME.onnx to NAME.plan by the builder of TensorRT or TensorRT-RTX, with the same code.

The graph states the precision of every tensor (`bsmamba2.networks.precision`): the TensorRT network is strongly typed,
and no precision flags are set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from export.errors import ExportError
from runtime.backends.cuda import load_cudart
from runtime.engine.flavours import bindings, quiet_logger
from runtime.engine.gpu import Gpu, find_gpu
from runtime.engine.manifest import FLAVOURS, INPUT_NAME, Range
from runtime.engine.plan_header import CAPABILITIES, is_rtx_plan, read_plan_header
from runtime.errors import EngineError

DEFAULT_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")  # of a TensorRT-RTX plan: A100, RTX 30, 40 and 50
MOST_WORKSPACE = 10_000.0  # gigabytes
SHOWN = 3  # parse errors in a message
NO_PROBES = "a TensorRT plan has no intermediate outputs"

Progress = Callable[[str, int, int], None]  # (phase of the builder, steps done, steps in total)


@dataclass(frozen=True)
class Build:
    """How to build a plan. Made by `plan_build`, which checks that this machine can build it."""

    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    workspace: int | None = None  # bytes the builder may use on the GPU; None: TensorRT's default
    timing_cache: Path | None = None  # read if it exists, written after the build (full TensorRT)


def plan_build(
    wanted: str,
    compute_capabilities: tuple[str, ...] = (),
    workspace: float | None = None,
    timing_cache: Path | None = None,
) -> Build:
    """A build that this machine can do; `workspace` is in gigabytes.

    `wanted` is a flavour or "auto": full TensorRT if it is installed, there is a GPU and no other GPU is asked for;
    otherwise TensorRT-RTX. Raises ExportError that says what is missing.
    """
    if wanted not in ("auto", *FLAVOURS):
        raise ExportError(f"--trt {wanted}: must be auto, {' or '.join(FLAVOURS)}")
    gpu, why_not = find_gpu()
    flavour, trt = _choose(wanted, gpu, compute_capabilities)
    if flavour == "tensorrt":
        load_cudart()  # finds GPUs; without it the next message would be wrong
        if gpu is None:
            raise ExportError(
                f"--trt tensorrt: needs the GPU that the plan is for, and this machine has none ({why_not}): run it on "
                "the machine with that GPU, or use --trt tensorrt-rtx, which needs no GPU"
            )
        if any(each != gpu.capability for each in compute_capabilities):
            raise ExportError(
                f"--compute-capability: full TensorRT builds only for the GPU of this machine, {gpu.name} "
                f"({gpu.capability}): leave it out, or use --trt tensorrt-rtx"
            )
        targets: tuple[str, ...] = (gpu.capability,)
    else:
        if timing_cache is not None:
            raise ExportError("--timing-cache: TensorRT-RTX measures no timings when it builds: leave it out")
        here = (gpu.capability,) if gpu is not None and gpu.capability in CAPABILITIES else ()
        targets = tuple(dict.fromkeys(compute_capabilities or (*DEFAULT_CAPABILITIES, *here)))
        for each in targets:
            if each not in CAPABILITIES:
                hint = "; for H100 and H200 use --trt tensorrt on that machine" if each == "9.0" else ""
                raise ExportError(
                    f"--compute-capability {each}: must be one of {', '.join(CAPABILITIES)} for TensorRT-RTX{hint}"
                )
    if workspace is not None and not 0 < workspace <= MOST_WORKSPACE:
        raise ExportError(f"--workspace {workspace}: must be gigabytes above 0, at most {MOST_WORKSPACE:.0f}")
    if timing_cache is not None and (timing_cache.is_dir() or not timing_cache.parent.is_dir()):
        raise ExportError(f"--timing-cache {timing_cache}: must be a file name in an existing folder")
    space = None if workspace is None else max(1, int(workspace * 1e9))
    return Build(flavour, str(trt.__version__), targets, space, timing_cache)


def _choose(wanted: str, gpu: Gpu | None, compute_capabilities: tuple[str, ...]) -> tuple[str, ModuleType]:
    if wanted != "auto":
        return _bindings(wanted)
    if gpu is None or any(each != gpu.capability for each in compute_capabilities):
        return _bindings("tensorrt-rtx")
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


def build_plan(
    graph: Path, plan: Path, label: str, batch: Range, frames: Range, build: Build, progress: Progress | None = None
) -> int | None:
    """Write the TensorRT plan of the ONNX file `graph` to `plan`, for these ranges, with `label` as the network's name.

    Returns the GPU memory for intermediate results in bytes, if the builder tells it. Ctrl-C stops the builder. Raises
    ExportError if the graph cannot be parsed or built, or if the plan's header does not name the GPUs asked for.
    """
    trt: Any = bindings(build.flavour)
    logger = quiet_logger(trt)
    try:
        builder = trt.Builder(logger)
    except Exception as error:  # the bindings raise a TypeError if the library returns no builder
        raise ExportError(f"{build.flavour} {build.version} does not start ({logger.first()})") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise ExportError(f"{build.flavour} {build.version} cannot parse {graph.name}: {_parse_errors(parser)}")
    network.name = label
    if network.name != label:
        raise ExportError(
            f"{build.flavour} {build.version} cannot store a manifest of {len(label)} characters in a plan: use fewer "
            "sub-bands, or fewer or shorter stem names"
        )

    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: float32 products would keep 10 bits of 23
    if build.flavour == "tensorrt-rtx":
        config.num_compute_capabilities = len(build.compute_capabilities)
        for i, each in enumerate(build.compute_capabilities):
            capability = getattr(trt.ComputeCapability, "SM" + each.replace(".", ""), None)
            if capability is None or not config.set_compute_capability(capability, i):
                raise ExportError(f"--compute-capability {each}: tensorrt-rtx {build.version} does not support it")
    if build.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, build.workspace)
    cache = _set_timing_cache(config, build.timing_cache)
    profile = builder.create_optimization_profile()
    rest = tuple(network.get_input(0).shape)[2:]
    profile.set_shape(INPUT_NAME, *((b, t, *rest) for b, t in zip(_sizes(batch), _sizes(frames), strict=True)))
    config.add_optimization_profile(profile)

    logger.errors.clear()  # errors from here on belong to the build
    blob = _run(trt, builder, network, config, progress)
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
        _write_timing_cache(cache, build.timing_cache)
    activations: int | None = logger.activations
    return activations


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


def _sizes(each: Range) -> tuple[int, int, int]:
    return each.min, each.opt, each.max


def _set_timing_cache(config: Any, path: Path | None) -> Any:
    if path is None:
        return None
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise ExportError(f"--timing-cache {path}: cannot be read ({error.strerror})") from error
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        raise ExportError(f"--timing-cache {path}: not a timing cache of this TensorRT and GPU: use another file name")
    return cache


def _write_timing_cache(cache: Any, path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(cache.serialize())
        part.replace(path)
    except OSError as error:
        raise ExportError(f"--timing-cache {path}: cannot be written ({error.strerror}): no plan was kept") from error
    finally:
        part.unlink(missing_ok=True)


def _run(trt: Any, builder: Any, network: Any, config: Any, progress: Progress | None) -> Any:
    """The serialized network, or None. The builder runs in its own thread, so that Ctrl-C reaches this one."""
    stop = threading.Event()
    config.progress_monitor = monitor = _monitor(trt, progress, stop)
    out: list[Any] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            out.append(builder.build_serialized_network(network, config))
        except BaseException as error:  # raised again in the main thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:
        stop.set()
        thread.join()
        raise
    del monitor
    if failures:
        raise failures[0]
    return out[0]


def _monitor(trt: Any, progress: Progress | None, stop: threading.Event) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Reports every phase that counts steps, and stops the builder once `stop` is set."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            if progress is not None:
                progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if progress is not None:
                progress(phase_name, step + 1, self.steps.get(phase_name, 0))
            return not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            if progress is not None:
                progress(phase_name, self.steps.get(phase_name, 0), self.steps.get(phase_name, 0))

    return Monitor()
