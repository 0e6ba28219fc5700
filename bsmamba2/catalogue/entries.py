"""What is known of published checkpoints: `models.json`, entry by entry."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from bsmamba2.errors import CheckpointError

BLOCK = 1 << 20  # bytes read at once


@dataclass(frozen=True)
class Entry:
    """A published checkpoint, as public lists describe it: only `bytes` and `sha256` say what the file is."""

    name: str
    kind: str  # bs_roformer, mel_band_roformer or bsmamba2
    stems: tuple[str, ...]  # in the order of the configuration, where one is known
    note: str  # what is special, or ""
    refused: str | None  # why it cannot be exported: what its network has that ours have not
    licence: str
    bytes: int
    sha256: str
    addresses: tuple[str, ...]  # of the same file, in the order to try; none for a file that is nowhere public
    known: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)  # configuration, as in models.json

    def configuration(self) -> dict[str, Any] | None:
        """The configuration that belongs to this file, or None if none is known.

        A new dict with the sections audio, model, training and inference of MSST's yaml; `model.freqs_per_bands` is a
        list of whole numbers.
        """
        if self.known is None:
            return None
        found = copy.deepcopy(dict(self.known))
        if "freqs_per_bands" in found["model"]:
            found["model"]["freqs_per_bands"] = _expanded(found["model"]["freqs_per_bands"])
        return found


def _expanded(runs: str) -> list[int]:
    """The bands of "24x2 12x4": 24 of 2 bins, then 12 of 4."""
    pairs = [run.split("x") for run in runs.split()]
    return [int(bins) for count, bins in pairs for _ in range(int(count))]


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """All entries, by name."""
    content = json.loads((files("bsmamba2.catalogue") / "models.json").read_text(encoding="utf-8"))
    configurations = content["configurations"]
    found = []
    for row in content["models"]:
        name = row.pop("configuration")
        known = None if name is None else configurations[name]
        row["stems"], row["addresses"] = tuple(row["stems"]), tuple(row["addresses"])
        found.append(Entry(**row, known=known))
    return tuple(sorted(found, key=lambda entry: entry.name))


def find(name: str) -> Entry | None:
    """The entry of exactly this name, or None."""
    return next((entry for entry in entries() if entry.name == name), None)


def entry_named(name: str) -> Entry:
    """The entry of this name. Raises CheckpointError, with names that are close."""
    found = find(name)
    if found is not None:
        return found
    names, words = [entry.name for entry in entries()], re.findall("[a-z0-9]+", name.lower())
    having = [each for each in names if words and all(word in each for word in words)]
    close = having[:3] or get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    meant = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise CheckpointError(
        f"{name}: neither a file nor a name of the catalogue{meant}: bsm-export --list shows all names"
    )


def entry_of(path: str | Path) -> Entry | None:
    """The entry whose file this is, whatever its name; None for any other file, and for one that cannot be read.

    A file is hashed only if the catalogue has one of its size.
    """
    path = Path(path)
    try:
        size = path.stat().st_size if path.is_file() else -1
        candidates = [entry for entry in entries() if entry.bytes == size]
        if not candidates:
            return None
        digest = sha256_of(path)
    except OSError:
        return None
    return next((entry for entry in candidates if entry.sha256 == digest), None)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
