"""PyTorch's results for one input, stage by stage: NAME.npz beside an engine. The file is untrusted."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine.manifest import Manifest, probe_tensors
from runtime.errors import OptionError

Float = NDArray[np.float32]

VERSION = 1
MOST_TEXT = 64  # characters
REMEDY = "bsm-export --reference writes one beside the engine"


@dataclass(frozen=True)
class Reference:
    """PyTorch's outputs in float32 by stage, of the shapes that `shapes` gives; `reference["stems"]` is one array.

    `waveform` is the input, full scale 1.0; each other stage is computed from the one before.
    """

    checkpoint: str  # sha256
    weights: str  # raw, ema or the name of another copy in the checkpoint
    arrays: dict[str, Float]

    def __getitem__(self, stage: str) -> Float:
        return self.arrays[stage]


def shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The shape of every stage, in processing order, for one item of `frames.opt` frames."""
    model, frames = manifest.model, manifest.frames.opt
    stems, channels, samples = len(model.stems), model.channels, manifest.chunk_samples
    mask, *features = [(1, *map(int, each.shape[1:])) for each in probe_tensors(model, frames)]
    names = [each.name for each in probe_tensors(model, frames)[1:]]
    return {
        "waveform": (1, channels, samples),
        "spectrogram": (1, frames, manifest.bins, channels, 2),
        **dict(zip(names, features, strict=True)),
        "mask": mask,
        "stems": (1, stems, frames, manifest.bins, channels, 2),
        "stem_waveforms": (1, stems, channels, samples),
    }


def write_reference(path: Path, reference: Reference) -> None:
    """Write NAME.npz."""
    facts = {"version": np.int64(VERSION), "checkpoint": reference.checkpoint, "weights": reference.weights}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **facts, **reference.arrays)


def read_reference(path: Path, manifest: Manifest) -> Reference:
    """Read NAME.npz, the reference of the engine that `manifest` describes. Raises OptionError for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            reference = _read(path, archive, manifest)
    except FileNotFoundError as error:
        raise OptionError(f"{path}: does not exist: {REMEDY}") from error
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise OptionError(f"{path}: cannot be read as a reference ({reason}): {REMEDY}") from error
    return reference


def _read(path: Path, archive: zipfile.ZipFile, manifest: Manifest) -> Reference:
    facts: dict[str, tuple[int, ...]] = {"version": (), "checkpoint": (), "weights": ()}
    found = [name.removesuffix(".npy") for name in archive.namelist()]
    if not set(facts) <= set(found):
        raise OptionError(f"{path}: not a reference file (no {', '.join(sorted(set(facts) - set(found)))}): {REMEDY}")
    version = int(_array(path, archive, "version", (), "i"))
    if version != VERSION:
        raise OptionError(f"{path}: is of reference version {version}, this release reads version {VERSION}: {REMEDY}")
    checkpoint, weights = (str(_array(path, archive, name, (), "U")) for name in ("checkpoint", "weights"))
    require_origin(str(path), checkpoint, weights, manifest)
    expected = shapes(manifest)
    missing, unknown = set(expected) - set(found), set(found) - set(expected) - set(facts)
    if missing or unknown or len(found) != len(set(found)):
        what = (
            f"has no {', '.join(sorted(missing))}" if missing else f"holds {', '.join(sorted(unknown)) or 'one twice'}"
        )
        raise OptionError(f"{path}: {what[:200]}: expected exactly {', '.join(expected)}: {REMEDY}")
    arrays = {name: _array(path, archive, name, shape, "f") for name, shape in expected.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise OptionError(f"{path}: {name} holds NaN or Inf, which PyTorch's results do not: {REMEDY}")
    return Reference(checkpoint, weights, arrays)


def require_origin(where: str, checkpoint: str, weights: str, manifest: Manifest) -> None:
    """Raise OptionError unless `where` has the checkpoint (by its sha256) and weights that the engine was made from."""
    origin = manifest.checkpoint
    if (checkpoint, weights) != (origin.sha256, origin.weights):
        raise OptionError(
            f"{where}: is of checkpoint {checkpoint[:12]}... ({weights[:20]} weights), but the engine was made from "
            f"{origin.file}, {origin.sha256[:12]}... ({origin.weights} weights): give the one it was made from"
        )


def _array(path: Path, archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
    """Array `name`. Its header is checked first, so that a hostile file cannot allocate more than is expected."""
    with archive.open(f"{name}.npy") as member:
        major, minor = np.lib.format.read_magic(member)
        if (major, minor) != (1, 0):
            raise ValueError(f"{name} in npy version {major}.{minor}")
        found, _, dtype = np.lib.format.read_array_header_1_0(member)
    sizes = {"f": (4,), "i": (8,), "U": range(4, 4 * MOST_TEXT + 1)}[kind]
    if found != shape or dtype.kind != kind or dtype.itemsize not in sizes:
        expected = {"f": "float32", "i": "int64", "U": "text"}[kind]
        raise OptionError(
            f"{path}: {name} is {dtype} {found}, the engine's is {expected} {shape}: the file belongs to another "
            f"engine: {REMEDY}"
        )
    with archive.open(f"{name}.npy") as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array
