"""Reading the manifest of an engine, and checking that it describes exactly this file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from runtime.engine.content import EXPECTED, is_onnx, mismatch, onnx_metadata, what_instead
from runtime.engine.manifest import METADATA_KEY, EngineFile, Manifest, sha256_of
from runtime.engine.manifest_fields import REMEDY
from runtime.errors import ManifestError

MAX_JSON_BYTES = 1_000_000


def manifest_path(engine: Path) -> Path:
    return engine.with_suffix(".json")


def read_manifest(engine: Path, to_open: bool = False) -> Manifest:
    """The manifest beside `engine`, checked to describe exactly this file. Raises ManifestError.

    With `to_open`, the content of a plan is not checked, since `open_backend` reads and checks it.
    """
    if not engine.is_file():
        found = "does not exist" if not engine.exists() else "is a folder" if engine.is_dir() else "is not a file"
        graph = engine.with_name(f"{engine.name}.onnx")
        raise ManifestError(f"{engine}: {found}: {f'give {graph}' if graph.is_file() else EXPECTED}")
    path = manifest_path(engine)
    if path == engine:
        raise ManifestError(f"{engine}: is a manifest: give the engine beside it (NAME.onnx or NAME.plan)")
    manifest = Manifest.from_json(_text(engine, path), str(path))
    is_plan = engine.suffix.lower() == ".plan"
    described = (manifest.plan.file if manifest.plan else None) if is_plan else manifest.onnx
    if described is None:
        _require_engine(engine)
        raise ManifestError(f"{path}: does not describe a {engine.suffix} file: {_remedy(is_plan, engine)}")
    if engine.stat().st_size != described.bytes or not ((is_plan and to_open) or described.sha256 == sha256_of(engine)):
        raise _mismatch(engine, described, manifest)
    if manifest.onnx_data is not None and not is_plan:
        _require_data(engine, manifest.onnx_data)
    return manifest


def read_plan(plan: Path, manifest: Manifest) -> bytes:
    """The content of `plan`, checked to be what its manifest describes. Raises ManifestError."""
    if manifest.plan is None or manifest.plan.file is None:
        raise ManifestError(f"{plan}: its manifest does not describe a plan: {rebuild_remedy(plan)}")
    content = plan.read_bytes()
    described = manifest.plan.file
    if len(content) != described.bytes or described.sha256 != hashlib.sha256(content).hexdigest():
        raise _mismatch(plan, described, manifest)
    return content


def _mismatch(engine: Path, described: EngineFile, manifest: Manifest) -> ManifestError:
    """The error for a file that is not the one described."""
    _require_engine(engine)
    reason = mismatch(engine, manifest_path(engine).name, described.bytes, METADATA_KEY, manifest.inside_onnx())
    remedy = _remedy(engine.suffix.lower() == ".plan", engine)
    return ManifestError(f"{engine}: {reason}: copy the right files again, or {remedy}")


def _require_data(engine: Path, described: EngineFile) -> None:
    """Raise ManifestError unless the weights of `engine` are beside it, where ONNX Runtime looks for them."""
    data = engine.with_name(f"{engine.name}.data")
    if not data.is_file():
        raise ManifestError(f"{engine}: its weights, {data.name}, are missing: copy this file beside it, or {REMEDY}")
    if data.stat().st_size != described.bytes or described.sha256 != sha256_of(data):
        raise ManifestError(f"{data}: is not the file of this engine, or was cut short: copy it again, or {REMEDY}")


def _text(engine: Path, path: Path) -> str:
    """The content of `path`, the manifest of `engine`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_JSON_BYTES + 1)
        text = raw.decode("utf-8-sig")  # some editors put a mark before UTF-8
    except FileNotFoundError as error:
        _require_engine(engine)
        if is_onnx(engine) and onnx_metadata(engine, METADATA_KEY) is None:
            raise ManifestError(
                f"{engine}: is an ONNX model that bsm-export did not write, or was cut short: {EXPECTED}"
            ) from error
        raise ManifestError(
            f"{engine}: its manifest {path.name} is missing: copy it beside the engine, or {REMEDY}"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 text: copy it again, or {REMEDY}") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error}): {REMEDY}") from error
    if len(raw) > MAX_JSON_BYTES:
        raise ManifestError(f"{path}: is larger than {MAX_JSON_BYTES} bytes, so it is not a manifest: {REMEDY}")
    return text


def _require_engine(path: Path) -> None:
    """Raise ManifestError, saying what it is, for a file that cannot be an engine."""
    instead = what_instead(path)
    if instead is not None:
        raise ManifestError(f"{path}: {instead}")


def _remedy(is_plan: bool, engine: Path) -> str:
    return rebuild_remedy(engine) if is_plan else REMEDY


def rebuild_remedy(plan: Path, option: str = "") -> str:
    """The command that builds a plan again, for errors."""
    return f"bsm-export --rebuild {plan.with_suffix('')}{option} builds it again from {plan.with_suffix('.onnx').name}"


def engine_sha256(engine: Path, manifest: Manifest) -> str | None:
    """That of the content of `engine`, as its manifest says."""
    file = (manifest.plan and manifest.plan.file) if engine.suffix.lower() == ".plan" else manifest.onnx
    return file.sha256 if file else None
