"""What PyTorch made of one input, stage by stage: NAME.npz beside an engine. It is untrusted input."""

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
REMEDY = "bsm-export --reference writes one with the engine"


@dataclass(frozen=True)
class Reference:
    """PyTorch's outputs in float32 by stage, shaped as `shapes` says; `reference["stems"]` is the array of one.

    `waveform` is the input, full scale 1.0; the other stages are made from it one after the other.
    """

    checkpoint: str  # sha256
    weights: str  # raw or ema
    arrays: dict[str, Float]

    def __getitem__(self, stage: str) -> Float:
        return self.arrays[stage]


def shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The shape of every stage, in the order of the signal: one item, of the frames the engine is made for."""
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
    """Read NAME.npz as the reference of the engine `manifest` describes. Raises OptionError unless it is just that."""
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
        raise OptionError(f"{path}: is no reference, it lacks {', '.join(sorted(set(facts) - set(found)))}: {REMEDY}")
    version = int(_array(path, archive, "version", (), "i"))
    if version != VERSION:
        raise OptionError(f"{path}: reference version {version}, this release reads version {VERSION}: {REMEDY}")
    checkpoint, weights = (str(_array(path, archive, name, (), "U")) for name in ("checkpoint", "weights"))
    require_origin(str(path), checkpoint, weights, manifest)
    expected = shapes(manifest)
    missing, unknown = set(expected) - set(found), set(found) - set(expected) - set(facts)
    if missing or unknown or len(found) != len(set(found)):
        what = (
            f"lacks {', '.join(sorted(missing))}" if missing else f"holds {', '.join(sorted(unknown)) or 'one twice'}"
        )
        raise OptionError(f"{path}: {what[:200]}: expected {', '.join(expected)} and no more; {REMEDY}")
    arrays = {name: _array(path, archive, name, shape, "f") for name, shape in expected.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise OptionError(f"{path}: {name} holds NaN or Inf: expected PyTorch's finite numbers; {REMEDY}")
    return Reference(checkpoint, weights, arrays)


def require_origin(where: str, checkpoint: str, weights: str, manifest: Manifest) -> None:
    """Raise OptionError unless `where` holds the checkpoint (by its sha256) and weights the engine was made from."""
    origin = manifest.checkpoint
    if (checkpoint, weights) != (origin.sha256, origin.weights):
        raise OptionError(
            f"{where}: is of checkpoint {checkpoint[:12]}... ({weights[:8]} weights), the engine was made from "
            f"{origin.file}, {origin.sha256[:12]}... ({origin.weights}): give the one it was made from"
        )


def _array(path: Path, archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
    """Array `name`; its header is read first, so that nothing is allocated but what is expected."""
    with archive.open(f"{name}.npy") as member:
        major, minor = np.lib.format.read_magic(member)
        if (major, minor) != (1, 0):
            raise ValueError(f"{name} in npy version {major}.{minor}")
        found, _, dtype = np.lib.format.read_array_header_1_0(member)
    sizes = {"f": (4,), "i": (8,), "U": range(4, 4 * MOST_TEXT + 1)}[kind]
    if found != shape or dtype.kind != kind or dtype.itemsize not in sizes:
        expected = {"f": "float32", "i": "int64", "U": "text"}[kind]
        raise OptionError(
            f"{path}: {name} is {dtype} {found}, the engine's is {expected} {shape}: it was made for another engine; "
            f"{REMEDY}"
        )
    with archive.open(f"{name}.npy") as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array
