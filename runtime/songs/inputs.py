"""Which songs are meant, and what their stems are called: from files and folders to a name for each song."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.errors import OptionError

# What a file in a folder must be called to be taken for a song; one given by name may be called anything.
OF_LIBSNDFILE = ("wav", "wave", "w64", "rf64", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "au", "caf")
OF_FFMPEG = ("m4a", "m4b", "mp4", "m4v", "aac", "mov", "mka", "mkv", "webm", "wma", "wv", "ape", "ac3", "3gp", "avi")
SUFFIXES = frozenset(f".{name}" for name in (*OF_LIBSNDFILE, *OF_FFMPEG))


@dataclass(frozen=True)
class NamedSong:
    """A song to separate; its stems are called `name`_<stem>, where `name` may lead through folders."""

    path: Path
    name: Path


@dataclass(frozen=True)
class Found:
    """What files and folders hold."""

    songs: list[NamedSong]
    unreadable: list[str]  # a line for each folder that could not be looked into


def real(path: Path) -> Path:
    """`path` without links; unlike `Path.resolve`, of anything."""
    return Path(os.path.realpath(path))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long: no folder, and what reads it says why it is no song
        return False


def find_songs(given: Iterable[Path], recursive: bool, leave_out: Path) -> Found:
    """The files of `given`, and of its folders the songs, sorted; each song once, under a name of its own.

    `recursive` looks into subfolders, whose tree the names keep. Hidden files, links to folders and the folder
    `leave_out`, where stems are written, are passed over. Raises OptionError for a folder in which no song can be
    found, and for songs that cannot be told apart by name.
    """
    songs: dict[Path, NamedSong] = {}
    unreadable: list[str] = []
    for path in given:
        if _is_folder(path):
            inside = _in_folder(path, recursive, leave_out)
            unreadable += inside.unreadable
            found = inside.songs
        else:
            found = [NamedSong(path, Path(path.stem))]
        for song in found:
            songs.setdefault(real(song.path), song)
    return Found(name_apart(list(songs.values())), list(dict.fromkeys(unreadable)))


def _in_folder(root: Path, recursive: bool, leave_out: Path) -> Found:
    stems = real(leave_out)
    songs: list[NamedSong] = []
    unreadable: list[str] = []

    def note(error: OSError) -> None:
        unreadable.append(f"{error.filename}: cannot be read ({error.strerror})")

    for folder, inside, files in os.walk(root, onerror=note):
        here = Path(folder)
        inside[:] = sorted(name for name in inside if recursive and not name.startswith("."))
        inside[:] = [name for name in inside if real(here / name) != stems]
        for name in sorted(files):
            path = here / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                songs.append(NamedSong(path, path.relative_to(root).with_name(path.stem)))
    if not songs:
        hint = "" if recursive else ": -r looks into its subfolders"
        no_songs = f"{root}: holds no songs, no .wav, .flac, .mp3 or the like{hint}"
        raise OptionError(next(iter(unreadable), no_songs))
    return Found(songs, unreadable)


def name_apart(songs: list[NamedSong]) -> list[NamedSong]:
    """`songs` with distinct names: those of one name keep the folders they differ in, then their suffix, too.

    Names that differ in case only, or in how they spell an accent, count as one: some file systems take them so.
    Raises OptionError where that is not enough.
    """
    for apart in (_by_folder, _by_suffix):
        for same in _same_names(songs):
            renamed = {song.path: new for song, new in zip(same, apart(same), strict=True)}
            songs = [renamed.get(song.path, song) for song in songs]
    names: dict[Path, NamedSong] = {}
    for song in songs:
        other = names.setdefault(song.name, song)
        if other is not song:
            raise OptionError(
                f"{other.path} and {song.path}: their stems would both be called {song.name}_...: separate them apart"
            )
    return songs


def _same_names(songs: list[NamedSong]) -> list[list[NamedSong]]:
    groups: dict[str, list[NamedSong]] = defaultdict(list)
    for song in songs:
        groups[unicodedata.normalize("NFC", str(song.name)).casefold()].append(song)
    return [group for group in groups.values() if len(group) > 1]


def _by_folder(songs: list[NamedSong]) -> list[NamedSong]:
    folders = [real(song.path).parent for song in songs]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # on different drives
        return songs
    return [
        replace(song, name=folder.relative_to(common) / song.name.name)
        for song, folder in zip(songs, folders, strict=True)
    ]


def _by_suffix(songs: list[NamedSong]) -> list[NamedSong]:
    return [replace(song, name=song.name.with_name(song.path.name)) for song in songs]
