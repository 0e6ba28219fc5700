"""What the stems of songs are called: a name for each song that no other has, and which files are stems already."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from runtime.audio import FORMATS, Form
from runtime.errors import OptionError
from runtime.songs.inputs import NamedSong, real, shown

OUTPUT_SUFFIXES = frozenset(Form(name, subtype).suffix for name, subtypes in FORMATS.items() for subtype in subtypes)


def name_songs(songs: list[NamedSong], output: Path, stems: Sequence[str]) -> list[NamedSong]:
    """`songs` with distinct names, without those that are `stems` of others.

    A file found in a folder is a stem if another of the songs is called like it without "_<stem>": in the same folder,
    or where that song's stems are written in the folder `output`. A file given by name is always a song. Songs of one
    name keep the folders they differ in, then their suffix. Raises OptionError where that is not enough.
    """
    while True:
        named = _apart(songs)
        made = {file for song in named for file in _stem_files(song, output, stems)}
        kept = [song for song in songs if song.by_name or _file(song.path) not in made]
        if len(kept) == len(songs):  # with fewer songs others may have the same names
            break
        songs = kept
    names: dict[Path, NamedSong] = {}
    for song in named:
        other = names.setdefault(song.name, song)
        if other is not song:
            raise OptionError(
                f"{shown(other.path)} and {shown(song.path)}: their stems would both be called {song.name}_...: "
                "separate them in two runs, with another -o for each"
            )
    return named


def _stem_files(song: NamedSong, output: Path, stems: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Where its stems are, or would be after a run with another `output`: folder and name without suffix."""
    for path in {output / song.name, song.path.with_name(song.path.stem), song.path}:
        folder = real(path.parent)
        for stem in stems:
            yield folder, unicodedata.normalize("NFC", f"{path.name}_{stem}")


def _file(path: Path) -> tuple[Path, str] | None:
    """Folder and name without suffix of a file that can be a stem by its suffix."""
    return (real(path.parent), unicodedata.normalize("NFC", path.stem)) if path.suffix in OUTPUT_SUFFIXES else None


def _apart(songs: list[NamedSong]) -> list[NamedSong]:
    """`songs`, with longer names where names are equal.

    Names that differ only in case, or in how they spell an accent, count as equal: some file systems take them so.
    """
    for apart in (_by_folder, _by_suffix):
        for same in _same_names(songs):
            renamed = {song.path: new for song, new in zip(same, apart(same), strict=True) if not song.settled}
            songs = [renamed.get(song.path, song) for song in songs]
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
