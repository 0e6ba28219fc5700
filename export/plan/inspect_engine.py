"""`bsm-export --inspect NAME`: a description of an engine's files, by Polygraphy."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import onnx

from export.errors import ExportError
from export.graph.nodes import nodes_of
from runtime.backends.plan_checks import check_gpu, check_version
from runtime.engine.flavours import PACKAGES, bindings
from runtime.engine.info import network_name
from runtime.engine.manifest import FLAVOURS, Manifest
from runtime.engine.plan_header import read_plan_header
from runtime.engine.reading import read_manifest
from runtime.errors import EngineError


def inspect_engine(name: Path, layers: bool = False) -> str:
    """Describe NAME.onnx and NAME.plan, if any; `layers` lists every node. Raises ManifestError, ExportError."""
    graph, plan = (name.with_name(name.name + suffix) for suffix in (".onnx", ".plan"))
    manifest = read_manifest(graph)
    installed = [each for each in FLAVOURS if _installed(each)]
    flavour = manifest.plan.flavour if manifest.plan else next(iter(installed), "tensorrt")
    _select_tensorrt(flavour)
    parts = [_words(manifest), _graph(graph, layers)]
    if flavour in installed:
        parts.append(_network(graph, flavour))
    else:
        parts.append(f"{flavour} is not installed: TensorRT's view of the graph is not shown")
    if manifest.plan is not None:
        parts.append(_plan(plan, read_manifest(plan)))
    return "\n\n".join(parts)


def _words(manifest: Manifest) -> str:
    model, frames, batch = manifest.model, manifest.frames, manifest.batch
    return (
        f"{network_name(model)}, dim {model.dim}, depth {model.depth}, {model.parameters:,} parameters, stems "
        f"{', '.join(model.stems)}\n"
        f"{manifest.precision}, scan {manifest.scan}, target {manifest.target}, io {manifest.io}; "
        f"{frames.min} to {frames.max} frames, batch {batch.min} to {batch.max}"
    )


def _graph(graph: Path, layers: bool) -> str:
    from polygraphy.backend.onnx.util import str_from_onnx

    model = onnx.load(graph, load_external_data=False)
    nodes = [*nodes_of(model.graph.node), *(node for function in model.functions for node in function.node)]
    counts = ", ".join(f"{op} {count}" for op, count in Counter(node.op_type for node in nodes).most_common())
    summary = str(str_from_onnx(model, show_layers=layers)).strip()
    return f"{graph}\n{summary}\n\n{len(nodes)} nodes including those in subgraphs: {counts}"


def _network(graph: Path, flavour: str) -> str:
    """The layers that TensorRT's parser makes of the graph. Polygraphy loads it, strongly typed."""
    from polygraphy.backend.trt import NetworkFromOnnxPath

    trt: Any = bindings(flavour)
    _, network, _ = _loaded(NetworkFromOnnxPath(str(graph), strongly_typed=True))
    kinds = Counter(network.get_layer(i).type.name for i in range(network.num_layers))
    counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return f"{flavour} {trt.__version__} parses it into {network.num_layers} layers: {counts}"


def _plan(plan: Path, manifest: Manifest) -> str:
    assert manifest.plan is not None  # noqa: S101 - checked by the caller
    made = manifest.plan
    lines = [
        f"{plan}: {plan.stat().st_size / 1e6:.1f} MB, {made.flavour} {made.version}, for compute capability "
        f"{', '.join(made.compute_capabilities)}"
    ]
    if made.flavour == "tensorrt-rtx":
        header = read_plan_header(plan)
        lines.append(f"header: TensorRT-RTX {header.version}, {', '.join(header.compute_capabilities)}")
    lines.append(
        f"checked on a GPU when it was built: largest error {made.parity.max_error:.1e} of the peak"
        if made.parity
        else "not run when it was built: the machine had none of its GPUs"
    )
    try:
        check_gpu(plan, manifest)
        check_version(plan, manifest, str(bindings(made.flavour).__version__))
        from polygraphy.backend.trt import EngineFromPath

        engine = _loaded(EngineFromPath(str(plan)))
        lines.append(
            f"{engine.num_layers} layers, {engine.num_optimization_profiles} profile, "
            f"{engine.device_memory_size_v2 / 1e9:.2f} GB of device memory for activations"
        )
    except (EngineError, ExportError) as error:
        lines.append(f"layers not shown: {error}")
    return "\n".join(lines)


def _loaded(loader: Callable[[], Any]) -> Any:
    """The result of a Polygraphy loader, without its output on the terminal. Raises ExportError."""
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            return loader()
    except Exception as error:  # Polygraphy's own, or one of the bindings if the library does not start
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"Polygraphy and TensorRT cannot load it ({reason})") from error


def _installed(flavour: str) -> bool:
    try:
        bindings(flavour)
    except EngineError:
        return False
    return True


def _select_tensorrt(flavour: str) -> None:
    """Select the TensorRT that Polygraphy uses: it reads the environment once, when it is first imported."""
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1" if flavour == "tensorrt-rtx" else "0"
    try:
        from polygraphy.logger import G_LOGGER
    except ImportError as error:
        raise ExportError(f"--inspect: Polygraphy is not installed: {PACKAGES['tensorrt-rtx'][1]}") from error
    G_LOGGER.module_severity = G_LOGGER.CRITICAL
