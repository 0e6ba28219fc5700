"""Songs with known stems on disk, and the salient windows of each stem.

Layouts: MUSDB18-HQ (`train/<song>/{vocals,drums,bass,other}.wav`) and any folder of `<song>/<stem>.{wav,flac,ogg}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bsmamba2.errors import DataError
from bsmamba2.training.activity import salient_starts

SUFFIXES = (".wav", ".flac", ".ogg")
ACCOMPANIMENT = "accompaniment"  # without a file of this name: the sum of all stems except the vocals
NOT_STEMS = ("mixture",)
LAYOUT = "--data must hold train/<song>/ and valid/<song>/, each with a file per stem, such as train/song/vocals.wav"

# The 14 validation songs in MUSDB18's `train`, as in musdb.
MUSDB_VALID = (
    "Actions - One Minute Smile",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies",
    "Patrick Talbot - A Reason To Leave",
    "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero",
    "Fergessen - Nos Palpitants",
    "Leaf - Summerghost",
    "Skelpolu - Human Mistakes",
    "Young Griffo - Pennies",
    "ANiMAL - Rockshow",
    "James May - On The Line",
    "Meaxic - Take A Step",
    "Traffic Experiment - Sirens",
)


@dataclass(frozen=True)
class Stem:
    """The files whose sum is one stem of a song. All have the same sample rate; `samples` is the shortest length."""

    files: tuple[Path, ...]
    samples: int

    def read(self, start: int, samples: int, channels: int) -> NDArray[np.float32]:
        """[channels, samples] from sample `start` on, zero-padded. Raises DataError."""
        out = np.zeros((channels, samples), np.float32)
        for path in self.files:
            try:
                audio, _ = soundfile.read(path, samples, start, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, OSError) as error:
                raise DataError(f"{path}: cannot be read ({error})") from error
            out[:, : len(audio)] += audio.mean(axis=1) if channels == 1 else audio[:, :channels].T
        return out


@dataclass(frozen=True)
class Song:
    folder: Path
    stems: dict[str, Stem]


def find_songs(folder: Path, stems: Sequence[str], sample_rate: int) -> list[Song]:
    """The songs in `folder`, by name, each with all of `stems`. Raises DataError for the first song that lacks one."""
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder: {LAYOUT}")
    songs = [_song(child, stems, sample_rate) for child in sorted(folder.iterdir()) if child.is_dir()]
    if not songs:
        raise DataError(f"{folder}: holds no folders of songs: {LAYOUT}")
    return songs


def training_songs(root: Path, stems: Sequence[str], sample_rate: int) -> tuple[list[Song], list[Song]]:
    """Training songs and validation songs of a folder with `train` and optionally `valid`.

    Without `valid`, musdb's 14 validation songs are taken out of `train`: MUSDB18-HQ's 100 songs become 86 and 14.
    Other folders without `valid` have no validation songs. Raises DataError.
    """
    songs = find_songs(root / "train", stems, sample_rate)
    if (root / "valid").is_dir():
        return songs, find_songs(root / "valid", stems, sample_rate)
    valid = [song for song in songs if song.folder.name in MUSDB_VALID]
    return [song for song in songs if song.folder.name not in MUSDB_VALID], valid


def _song(folder: Path, names: Sequence[str], sample_rate: int) -> Song:
    files = {path.stem.lower(): path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    stems = {}
    for name in names:
        if name in files:
            parts = [files[name]]
        elif name == ACCOMPANIMENT:
            parts = [path for stem, path in files.items() if stem not in ("vocals", *NOT_STEMS)]
        else:
            parts = []
        if not parts:
            found = ", ".join(files) or "no audio"
            raise DataError(
                f"{folder}: has no stem {name!r} (found: {found}): expected {', '.join(names)} as WAV, FLAC or Ogg"
            )
        stems[name] = Stem(tuple(parts), _common_length(parts, sample_rate))
    return Song(folder, stems)


def _common_length(files: Iterable[Path], sample_rate: int) -> int:
    lengths = []
    for path in files:
        try:
            info = soundfile.info(str(path))
        except (soundfile.LibsndfileError, OSError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
        if info.samplerate != sample_rate:
            raise DataError(
                f"{path}: {info.samplerate} Hz: expected {sample_rate} Hz, the network's sample rate: resample it first"
            )
        lengths.append(info.frames)
    return min(lengths)


@dataclass(frozen=True)
class Salient:
    """The windows of a stem that may be drawn."""

    stem: Stem
    starts: tuple[int, ...]


def find_salient(stems: Sequence[Stem], window: int, channels: int, cache: Path | None = None) -> list[Salient]:
    """The salient windows of each stem; stems without any are left out. They are stored in the file `cache`."""
    known = _read_cache(cache)
    keys = [_key(stem, window, channels) for stem in stems]

    def starts_of(stem: Stem, key: str) -> list[int]:
        if key in known:
            return known[key]
        return [int(start) for start in salient_starts(stem.read(0, stem.samples, channels), window)]

    with ThreadPoolExecutor(max_workers=2) as pool:  # each thread holds a whole stem in memory
        starts = list(pool.map(starts_of, stems, keys))
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({**known, **dict(zip(keys, starts, strict=True))}))
    return [Salient(stem, tuple(found)) for stem, found in zip(stems, starts, strict=True) if found]


def _key(stem: Stem, window: int, channels: int) -> str:
    """Everything that the windows depend on, so that a changed file is analysed again."""
    files = [f"{path.resolve()}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in stem.files]
    return "|".join([*files, str(window), str(channels)])


def _read_cache(cache: Path | None) -> dict[str, list[int]]:
    try:
        content = json.loads(cache.read_text()) if cache is not None else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
