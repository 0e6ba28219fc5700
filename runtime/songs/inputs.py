"""Which songs are meant: from files and folders to a list of songs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.errors import OptionError
from runtime.songs import store
from runtime.songs.store import address, check_address, is_address

# Suffixes of the files in a folder that count as songs; a file given by name may have any.
OF_LIBSNDFILE = (
    *("wav", "wave", "w64", "rf64", "flac", "ogg", "oga", "opus", "mp3", "mp2", "aif", "aiff", "aifc", "au", "caf"),
)
OF_FFMPEG = (
    *("m4a", "m4b", "mp4", "m4v", "aac", "mov", "mka", "mkv", "webm", "wma", "wmv", "wv", "ape", "ac3", "3gp", "avi"),
    *("dsf", "dff", "flv", "mxf", "ogv", "spx", "tta"),
)
STDIN = Path("-")
SUFFIXES = frozenset(f".{name}" for name in (*OF_LIBSNDFILE, *OF_FFMPEG))


@dataclass(frozen=True)
class NamedSong:
    """A song to separate; its stems are called `name`_<stem>, where `name` may contain folders."""

    path: Path
    name: Path
    by_name: bool = False  # given as a file, not found in a folder
    settled: bool = False  # the name was given, too


@dataclass(frozen=True)
class Found:
    """The songs among files and folders."""

    songs: list[NamedSong]
    unreadable: list[str]  # a line for each folder that could not be read


def shown(path: Path) -> str:
    """`path` as messages call it."""
    return "standard input" if path == STDIN else address(path)


def recorded(path: Path) -> str:
    """`path` as a journal calls it: what it means does not depend on the current folder."""
    return str(path) if path == STDIN else address(absolute(path))


def absolute(path: Path) -> Path:
    """An address is absolute as it is."""
    return path if is_address(path) else path.absolute()


def is_pipe(path: Path) -> bool:
    """Whether it can be read only once, from first to last."""
    try:
        return path == STDIN or path.is_fifo()
    except OSError:  # what reads it says what is wrong
        return False


def real(path: Path) -> Path:
    """`path` without links; unlike `Path.resolve` it accepts loops of links. A store has no links."""
    return path if is_address(path) else Path(os.path.realpath(path))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long: not a folder, and the error comes when it is read as a song
        return False


def find_songs(given: Iterable[Path | NamedSong], recursive: bool, output: Path) -> Found:
    """The files of `given` and, sorted, the songs in its folders; each song once. Names may still be equal.

    `recursive` includes subfolders, whose tree the names keep. Hidden files, pipes, links to folders and subfolders
    that are `output`, where stems are written, are skipped. Raises OptionError for a folder in which no song can be
    found.
    """
    songs: dict[Path, NamedSong] = {}
    unreadable: list[str] = []
    for path in given:
        if isinstance(path, NamedSong):
            found = [path]
        elif is_address(path):
            check_address(path)
            inside = _in_store(path, recursive, output)
            unreadable += inside.unreadable
            found = inside.songs
        elif _is_folder(path):
            inside = _in_folder(path, recursive, output)
            unreadable += inside.unreadable
            found = inside.songs
        else:
            found = [NamedSong(path, Path("stdin" if path == STDIN else path.stem), by_name=True)]
        for song in found:
            first = songs.setdefault(real(song.path), song)
            if first.settled and song.settled and first.name != song.name:
                raise OptionError(
                    f"{shown(song.path)}: is listed with two names, {first.name} and {song.name}: give it one"
                )
            named = song if song.settled else first
            songs[real(song.path)] = replace(named, by_name=first.by_name or song.by_name)
    return Found(list(songs.values()), list(dict.fromkeys(unreadable)))


def _in_folder(root: Path, recursive: bool, output: Path) -> Found:
    stems = real(output)
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
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and not is_pipe(path):
                songs.append(NamedSong(path, path.relative_to(root).with_name(path.stem)))
    return _some(root, Found(songs, unreadable), recursive)


def _in_store(root: Path, recursive: bool, output: Path) -> Found:
    """The object `root`, or what is in the folder `root`."""
    if store.size_of(root) is not None:
        return Found([NamedSong(root, Path(root.stem), by_name=True)], [])
    songs: list[NamedSong] = []
    unreadable: list[str] = []
    for each in store.objects(root, recursive):
        if each.path is None:
            unreadable.append(f"{each.address}: cannot be read (no file can have this name): rename it")
            continue
        name = each.path.relative_to(root)
        stem = output != root and each.path.is_relative_to(output)
        hidden = any(part.startswith(".") for part in name.parts)
        if each.path.suffix.lower() in SUFFIXES and not hidden and not stem:
            songs.append(NamedSong(each.path, name.with_name(each.path.stem)))
    return _some(root, Found(songs, unreadable), recursive)


def _some(root: Path, found: Found, recursive: bool) -> Found:
    """`found` in the folder `root`. Raises OptionError if there is no song."""
    if not found.songs:
        hint = "" if recursive else ": -r searches its subfolders"
        no_songs = f"{shown(root)}: no songs found (.wav, .flac, .mp3 and others){hint}"
        raise OptionError(next(iter(found.unreadable), no_songs))
    return found
