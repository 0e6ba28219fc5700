"""The files of an engine: written to a temporary folder, and moved to their final names when all of them are right."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from export.errors import ExportError
from runtime.engine.manifest import EngineFile, Manifest, sha256_of

Report = Callable[[str], None]  # called with the name of each step of an export as it begins


@dataclass(frozen=True)
class Exported:
    """The files of a finished export."""

    engine: Path
    plan: Path | None
    manifest_path: Path
    manifest: Manifest
    reference: Path | None = None
    not_run: str = ""  # why the plan was not run; "" if it was


@dataclass(frozen=True)
class Finals:
    """The final names of an engine's files."""

    onnx: Path
    data: Path  # weights that are too large for the ONNX file
    plan: Path
    manifest: Path
    reference: Path
    moved: tuple[Path, ...]  # those that this export writes


@contextmanager
def writing(name: Path, with_plan: bool, with_reference: bool = False) -> Iterator[tuple[Path, Finals]]:
    """A temporary folder beside `name`, removed at the end. An OSError inside becomes an ExportError."""
    suffixes = (".onnx", ".onnx.data", ".plan", ".json", ".npz")
    graph, data, plan, manifest, reference = (name.with_name(name.name + suffix) for suffix in suffixes)
    wanted = {graph: True, plan: with_plan, reference: with_reference, manifest: True}
    finals = Finals(graph, data, plan, manifest, reference, tuple(path for path, is_made in wanted.items() if is_made))
    for final in finals.moved:
        if final.is_dir():
            raise ExportError(f"{final}: is a folder: choose another name with -o")
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=name.parent, prefix=".bsm-export-") as folder:
            yield Path(folder), finals
    except OSError as error:
        raise ExportError(f"{name}: cannot be written ({error.strerror or error})") from error


def described(part: Path) -> EngineFile:
    """The entry of `part` for a manifest."""
    return EngineFile(part.name, part.stat().st_size, sha256_of(part))


def put_in_place(manifest: Manifest, folder: Path, finals: Finals) -> None:
    """Write the manifest, then move every finished file in `folder` to its final name: all of them or none."""
    part = folder / finals.manifest.name
    part.write_text(manifest.to_json() + "\n", encoding="utf-8")
    Manifest.from_json(part.read_text(encoding="utf-8"), str(finals.manifest))
    with_data = (folder / finals.data.name).exists()
    _replace_all({folder / final.name: final for final in (*finals.moved, *[finals.data] * with_data)}, folder)
    if finals.onnx in finals.moved:
        for final, made in ((finals.plan, finals.plan in finals.moved), (finals.data, with_data)):
            if not made:
                final.unlink(missing_ok=True)  # belongs to an earlier engine of this name, which is replaced


def _replace_all(moves: dict[Path, Path], folder: Path) -> None:
    """Move every new file to its final name, or restore all earlier files: an engine is never without its manifest."""
    earlier: dict[Path, Path] = {}
    try:
        for part, final in moves.items():
            if final.exists():
                earlier[final] = folder / f"earlier-{final.name}"
                final.replace(earlier[final])
            part.replace(final)
    except BaseException:  # also Ctrl-C
        for part, final in moves.items():
            if not part.exists():
                final.unlink(missing_ok=True)
            if final in earlier and earlier[final].exists():
                earlier[final].replace(final)
        raise
