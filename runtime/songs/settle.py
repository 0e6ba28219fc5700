"""What a run will do, before it does anything: names and settings that fit the engine and each other."""

from __future__ import annotations

from dataclasses import replace

from runtime.audio.leftovers import sweep
from runtime.printable import counted
from runtime.songs.batch import Settings, check_settings, check_songs
from runtime.songs.inputs import NamedSong, real
from runtime.songs.names import name_songs
from runtime.songs.telling import say


def settle(songs: list[NamedSong], wish: Settings, stems: list[str]) -> tuple[list[NamedSong], Settings]:
    """`songs` with names that no other has, and `wish` with all that depends on them and on the engine's `stems`.

    No stems in `wish` are all of them. Raises OptionError.
    """
    named = name_songs(songs, wish.folder, stems)
    if left_out := len(songs) - len(named):
        say(f"skipping {counted(left_out, 'stem')} of other songs (give a file by name to separate it)")
    settings = replace(wish, stems=wish.stems or stems, songs=frozenset(real(song.path) for song in named))
    check_settings(settings, stems)
    check_songs(named, settings)
    return named, settings


def sweep_for(songs: list[NamedSong], settings: Settings) -> None:
    """Remove what killed runs left in the folders that the stems of `songs` go to."""
    removed = sum(sweep(folder) for folder in {(settings.folder / song.name).parent for song in songs})
    if removed:
        say(f"removed {counted(removed, 'temporary file')} of runs that were killed")
