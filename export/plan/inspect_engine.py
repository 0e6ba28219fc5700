"""`bsm-export --inspect NAME`: what an engine's files hold, in words, with Polygraphy's eyes."""

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
from export.graph.check_graph import nodes_of
from runtime.backends.plan_checks import check_gpu, check_version
from runtime.engine.flavours import PACKAGES, bindings
from runtime.engine.manifest import FLAVOURS, Manifest, read_manifest
from runtime.engine.plan_header import read_plan_header
from runtime.errors import EngineError


def inspect_engine(name: Path, layers: bool = False) -> str:
    """NAME.onnx, and NAME.plan where there is one; `layers` lists every node. Raises ManifestError, ExportError."""
    graph, plan = (name.with_name(name.name + suffix) for suffix in (".onnx", ".plan"))
    manifest = read_manifest(graph)
    installed = [each for each in FLAVOURS if _installed(each)]
    flavour = manifest.plan.flavour if manifest.plan else next(iter(installed), "tensorrt")
    _point_polygraphy_at(flavour)
    parts = [_words(manifest), _graph(graph, layers)]
    if flavour in installed:
        parts.append(_network(graph, flavour))
    else:
        parts.append(f"{flavour} is not installed here: how it reads the graph is not shown")
    if manifest.plan is not None:
        parts.append(_plan(plan, read_manifest(plan)))
    return "\n\n".join(parts)


def _words(manifest: Manifest) -> str:
    model, frames, batch = manifest.model, manifest.frames, manifest.batch
    return (
        f"{model.kind}, dim {model.dim}, depth {model.depth}, {model.parameters:,} parameters, stems "
        f"{', '.join(model.stems)}\n"
        f"{manifest.precision}, scan {manifest.scan}, laid out for a {manifest.target}; "
        f"{frames.min} to {frames.max} frames, batch {batch.min} to {batch.max}"
    )


def _graph(graph: Path, layers: bool) -> str:
    from polygraphy.backend.onnx.util import str_from_onnx

    model = onnx.load(graph)
    nodes = [*nodes_of(model.graph.node), *(node for function in model.functions for node in function.node)]
    counts = ", ".join(f"{op} {count}" for op, count in Counter(node.op_type for node in nodes).most_common())
    summary = str(str_from_onnx(model, show_layers=layers)).strip()
    return f"{graph}\n{summary}\n\n{len(nodes)} nodes with those inside: {counts}"


def _network(graph: Path, flavour: str) -> str:
    """How TensorRT's parser reads the graph: Polygraphy loads it, strongly typed."""
    from polygraphy.backend.trt import NetworkFromOnnxPath

    trt: Any = bindings(flavour)
    _, network, _ = _loaded(NetworkFromOnnxPath(str(graph), strongly_typed=True))
    kinds = Counter(network.get_layer(i).type.name for i in range(network.num_layers))
    counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return f"{flavour} {trt.__version__} reads it as {network.num_layers} layers: {counts}"


def _plan(plan: Path, manifest: Manifest) -> str:
    assert manifest.plan is not None  # noqa: S101 - the caller has seen it
    made = manifest.plan
    lines = [
        f"{plan}: {plan.stat().st_size / 1e6:.1f} MB, {made.flavour} {made.version}, for compute capability "
        f"{', '.join(made.compute_capabilities)}"
    ]
    if made.flavour == "tensorrt-rtx":
        header = read_plan_header(plan)
        lines.append(f"its header: TensorRT-RTX {header.version}, {', '.join(header.compute_capabilities)}")
    lines.append(
        f"run on a GPU when it was built: largest error {made.parity.max_error:.1e} of the peak"
        if made.parity
        else "not run when it was built: none of its GPUs was there"
    )
    try:
        check_gpu(plan, manifest)
        check_version(plan, manifest, str(bindings(made.flavour).__version__))
        from polygraphy.backend.trt import EngineFromPath

        engine = _loaded(EngineFromPath(str(plan)))
        lines.append(
            f"{engine.num_layers} layers, {engine.num_optimization_profiles} profile, "
            f"{engine.device_memory_size_v2 / 1e9:.2f} GB of device memory for what flows between them"
        )
    except (EngineError, ExportError) as error:
        lines.append(f"its layers cannot be shown here: {error}")
    return "\n".join(lines)


def _loaded(loader: Callable[[], Any]) -> Any:
    """What a loader of Polygraphy gives, without what it prints. Raises ExportError."""
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            return loader()
    except Exception as error:  # Polygraphy's own, or what the bindings raise where the library does not start
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"Polygraphy and TensorRT cannot load it ({reason})") from error


def _installed(flavour: str) -> bool:
    try:
        bindings(flavour)
    except EngineError:
        return False
    return True


def _point_polygraphy_at(flavour: str) -> None:
    """Say which TensorRT Polygraphy is to use: it reads the environment, once, when it is first imported."""
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1" if flavour == "tensorrt-rtx" else "0"
    try:
        from polygraphy.logger import G_LOGGER
    except ImportError as error:
        raise ExportError(f"--inspect: Polygraphy is not installed: {PACKAGES['tensorrt-rtx'][1]}") from error
    G_LOGGER.module_severity = G_LOGGER.CRITICAL
