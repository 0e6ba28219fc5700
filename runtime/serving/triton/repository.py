"""`bsm-export --triton DIR`: a model repository for Triton Inference Server from finished engines."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.engine.manifest import Manifest
from runtime.engine.reading import manifest_path, read_manifest
from runtime.errors import EngineError, OptionError
from runtime.serving.triton.container import Container
from runtime.serving.triton.models import network_config, network_name, song_config
from runtime.serving.triton.pbtxt import pbtxt

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
SONGS = 2  # songs at a time, of each engine
MANIFEST = "manifest.json"  # in the folder of a song model
MODEL_PY = '''"""Songs through {network}: written by bsm-export, needs the package bsmamba2 (docs/triton.md)."""

from runtime.serving.triton.song_model import SongModel as TritonPythonModel  # noqa: F401
'''


@dataclass(frozen=True)
class Served:
    """An engine in a model repository."""

    name: str  # of the model that takes songs
    engine: Path
    manifest: Manifest


def write_repository(
    folder: Path, engines: Sequence[Path], container: Container, songs: int = SONGS
) -> tuple[list[Served], list[str]]:
    """Write the models of `engines` into the new folder `folder`, and return them with notes for the user.

    `container` holds the versions of the server's libraries, `songs` is the number of songs at a time. All files
    appear, or none. Raises ManifestError, EngineError, OptionError.
    """
    if songs < 1:
        raise OptionError(f"--songs {songs}: must be at least 1")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise OptionError(f"{folder}: already exists: give a new folder, or remove this one first")
    served: dict[str, Served] = {}
    notes = []
    for engine in engines:
        each = _checked(engine)
        notes += container.check(engine, each.manifest)
        for taken in (each.name, network_name(each.name)):
            other = served.get(taken) or served.get(taken.removesuffix("_network"))
            if other is not None:
                raise OptionError(f"{other.engine} and {engine}: both would be the model {taken}: rename one of them")
        served[each.name] = each
    container.require_use([each.engine for each in served.values()])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".bsm-triton-") as temporary:
        made = Path(temporary) / "repository"  # a folder of its own: the temporary one is closed to other users
        for each in served.values():
            _write(made, each, songs)
        made.replace(folder)
    return list(served.values()), notes


def _checked(engine: Path) -> Served:
    """The engine, if Triton can run it as it is."""
    manifest = read_manifest(engine)
    name = engine.stem
    if NAME.fullmatch(name) is None:
        raise OptionError(f"{engine}: Triton's models are named with letters, digits, '_', '-' and '.': rename it")
    plan = manifest.plan if engine.suffix.lower() == ".plan" else None
    if plan is not None and plan.flavour != "tensorrt":
        raise EngineError(
            f"{engine}: is a plan of TensorRT-RTX, which Triton does not load (its tensorrt backend is full TensorRT): "
            f"give {engine.with_suffix('.onnx').name}, or build a plan with bsm-export --trt tensorrt"
        )
    if manifest.probes:
        raise EngineError(f"{engine}: was exported with --probe, for bsm-parity: export it again without")
    if manifest.precision == "bf16" and plan is None:
        raise EngineError(
            f"{engine}: is in bfloat16, which ONNX Runtime lacks in part: give a TensorRT plan of it, or export it "
            "again with --precision fp16 or fp32"
        )
    if manifest.scan == "plugin":
        raise EngineError(
            f"{engine}: has the scan as a plugin, which Triton does not have: export it again with --scan chunked"
        )
    return Served(name, engine, manifest)


def _write(repository: Path, served: Served, songs: int) -> None:
    engine, name = served.engine, served.name
    data = engine.with_name(f"{engine.name}.data")
    network, song = (repository / each / "1" for each in (network_name(name), name))
    for version, config in (
        (network, network_config(name, engine.name, served.manifest)),
        (song, song_config(name, served.manifest, songs)),
    ):
        version.mkdir(parents=True)
        version.with_name("config.pbtxt").write_text(pbtxt(config), encoding="utf-8")
    shutil.copyfile(engine, network / engine.name)
    if served.manifest.onnx_data is not None and engine.suffix.lower() == ".onnx":
        shutil.copyfile(data, network / data.name)
    shutil.copyfile(manifest_path(engine), song / MANIFEST)
    (song / "model.py").write_text(MODEL_PY.format(network=network_name(name)), encoding="utf-8")
