"""What a server is told on its command line, and its limits."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from runtime.engine.info import network_name
from runtime.engine.reading import read_manifest
from runtime.engine.stems import stems_of
from runtime.errors import OptionError

MB = 1 << 20
RESERVE = 1 << 30  # bytes of the disk that songs and stems leave free
WAITING_PER_JOB = 4  # bytes a sample, channel and file: stems are float at most, raw or encoded


@dataclass(frozen=True)
class Limits:
    """What a client may ask for."""

    seconds: float  # of a song
    upload_bytes: int
    queue: int  # songs that wait
    keep: float  # s that the stems of a song are kept
    work: float  # s that a worker may spend on a song
    memory: int | None  # bytes of a worker; None: no limit


@dataclass(frozen=True)
class Engine:
    """An engine that songs can be sent to."""

    name: str
    path: Path  # absolute
    stems: list[str]
    sample_rate: int  # Hz
    network: str

    def fields(self) -> dict[str, object]:
        """For a client."""
        return {"name": self.name, "stems": self.stems, "sample_rate": self.sample_rate, "network": self.network}


def read_engines(paths: list[Path]) -> dict[str, Engine]:
    """The engines at `paths`, by name. Raises ManifestError, and OptionError for names that are not distinct."""
    engines: dict[str, Engine] = {}
    for path in paths:
        manifest = read_manifest(path, to_open=True)
        name = path.stem
        if name in engines:
            raise OptionError(f"{engines[name].path} and {path}: both are called {name}: rename one of them")
        stems = stems_of(manifest)
        if "song" in stems:
            raise OptionError(f'{path}: has a stem called "song", which here is the song itself: export it anew')
        engines[name] = Engine(name, path.resolve(), stems, manifest.stft.sample_rate, network_name(manifest.model))
    if not engines:
        raise OptionError("no engines given: give NAME.onnx or NAME.plan from bsm-export")
    return engines


def room_for(samples: int, channels: int, stems: int) -> int:
    """Bytes of the disk that separating a song takes at most: stems as they come and encoded, and previews."""
    return samples * channels * WAITING_PER_JOB * (2 * stems + 1)


def free_room(folder: Path) -> int:
    """Bytes that may still be written below `folder`."""
    return shutil.disk_usage(folder).free - RESERVE
