"""`export_engine`: from a checkpoint to NAME.onnx and NAME.json, written only when the engine computes the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from bsmamba2.checkpoint import Checkpoint
from bsmamba2.config import StftConfig
from export.check_graph import check_graph
from export.describe import describe
from export.errors import ExportError
from export.to_onnx import to_onnx
from export.verify import TOLERANCES, verify
from runtime.manifest import METADATA_KEY, EngineFile, Manifest, sha256_of

SCANS = ("chunked",)
MAX_BATCH = 64
MAX_FRAMES = 100_000
PROTOBUF_LIMIT = 2 * 1024**3 - 1024**2  # bytes: more does not fit one ONNX file


@dataclass(frozen=True)
class Exported:
    """What was written."""

    engine: Path
    manifest_path: Path
    manifest: Manifest


def export_engine(
    checkpoint: Checkpoint,
    name: Path,
    *,
    frames: int,
    batch_max: int = 8,
    precision: str = "fp32",
    scan: str = "chunked",
    report: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Write `name`.onnx and `name`.json for chunks of `frames` STFT frames, up to `batch_max` of them at a time.

    `precision` is "fp32" or "fp16": explicit types inside the graph, whose input and output stay float32.

    `report` is called with the name of each step as it begins. Raises ExportError, and leaves what stood under these
    names before, when the graph breaks the contract or its output differs from PyTorch's.
    """
    config = checkpoint.config
    _check_options(checkpoint, frames, batch_max, precision, scan)
    engine, manifest_path = (name.with_name(name.name + suffix) for suffix in (".onnx", ".json"))
    for final in (engine, manifest_path):
        if final.is_dir():
            raise ExportError(f"{final}: is a folder: choose another name with -o")
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=name.parent, prefix=".bsm-export-") as folder:
            report("building the network")
            model = checkpoint.model().use_scan(scan)
            report("tracing it into a graph")
            graph = to_onnx(model, frames, precision)
            report("checking the graph")
            check_graph(graph, frames, config.stft.bins, config.channels, len(config.stems), precision)
            part = Path(folder) / engine.name
            onnx.save(graph, part)
            parity = verify(model, part, frames, batch_max, precision, report)

            report("writing")
            manifest = describe(
                checkpoint,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                frames=frames,
                batch_max=batch_max,
                precision=precision,
                scan=scan,
                target="cpu",
                parity=parity,
            )
            onnx.helper.set_model_props(graph, {METADATA_KEY: manifest.inside_onnx()})
            onnx.save(graph, part)
            manifest = replace(manifest, onnx=EngineFile(engine.name, part.stat().st_size, sha256_of(part)))
            part_json = Path(folder) / manifest_path.name
            part_json.write_text(manifest.to_json() + "\n", encoding="utf-8")
            Manifest.from_json(part_json.read_text(encoding="utf-8"), str(manifest_path))
            _replace_both({part: engine, part_json: manifest_path}, Path(folder))
    except OSError as error:
        raise ExportError(f"{name}: cannot be written ({error.strerror or error})") from error
    return Exported(engine, manifest_path, manifest)


def _replace_both(moves: dict[Path, Path], folder: Path) -> None:
    """Move every new file to its final name or leave all names as they were: no engine without its manifest."""
    earlier: dict[Path, Path] = {}
    try:
        for part, final in moves.items():
            if final.exists():
                earlier[final] = final.replace(folder / f"earlier-{final.name}")
            part.replace(final)
    except OSError:
        for part, final in moves.items():
            if not part.exists():
                final.unlink(missing_ok=True)
            if final in earlier:
                earlier[final].replace(final)
        raise


def _check_options(checkpoint: Checkpoint, frames: int, batch_max: int, precision: str, scan: str) -> None:
    stft = checkpoint.config.stft
    if not smallest_frames(stft) <= frames <= MAX_FRAMES:
        raise ExportError(
            f"{frames} frames: expected {smallest_frames(stft)}, whose chunk is longer than n_fft / 2, to {MAX_FRAMES}"
        )
    if not 1 <= batch_max <= MAX_BATCH:
        raise ExportError(f"--batch-max {batch_max}: expected 1 to {MAX_BATCH}")
    if precision not in TOLERANCES:
        raise ExportError(f"--precision {precision}: expected {' or '.join(TOLERANCES)}")
    if scan not in SCANS:
        raise ExportError(f"--scan {scan}: expected {' or '.join(SCANS)}")
    bytes_needed = 4 * sum(value.numel() for value in checkpoint.state.values())
    if bytes_needed > PROTOBUF_LIMIT:
        raise ExportError(f"{bytes_needed} bytes of weights: one ONNX file holds at most {PROTOBUF_LIMIT}")


def smallest_frames(stft: StftConfig) -> int:
    return stft.n_fft // 2 // stft.hop_length + 2
