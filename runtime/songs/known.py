"""Songs that an earlier run has separated, by its journal: they are skipped without a look into them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from runtime.songs.batch import Outcome, Settings, stem_file
from runtime.songs.inputs import NamedSong, recorded
from runtime.songs.journal import Journal
from runtime.songs.names import OUTPUT_SUFFIXES


class KnownSongs:
    """The songs that `journal` says were separated as they would be now.

    That is: by an engine of the same content, and with the same --format or none; all stems (and the picture, if it is
    asked for) exist, in the places where they would be written. Lines that are no such thing are not looked at.
    """

    def __init__(self, journal: Path, common: dict[str, Any], settings: Settings) -> None:
        """`common`: what a journal of this run says on each line."""
        self._settings = settings
        self._lines: dict[str, dict[str, Any]] = {}
        if not common.get("engine_sha256") or not journal.is_file():
            return
        with journal.open("rb") as file:
            for raw in file:
                line = _parsed(raw)
                if line.get("status") == "separated" and all(line.get(key) == common[key] for key in common):
                    self._lines[str(line.get("song"))] = line

    def outcome(self, song: NamedSong) -> Outcome | None:
        """What is there of `song` if nothing is to be done with it."""
        line = self._lines.get(recorded(song.path))
        if line is None:
            return None
        stems = {stem: self._place(song, stem, line) for stem in self._settings.stems}
        picture = self._settings.folder / song.name.with_name(f"{song.name.name}.png") if self._settings.plot else None
        there = {stem: path for stem, path in stems.items() if path is not None and os.path.lexists(path)}
        if len(there) < len(stems) or (picture is not None and not os.path.lexists(picture)):
            return None
        return Outcome(song.path, there, picture, [])

    def _place(self, song: NamedSong, stem: str, line: dict[str, Any]) -> Path | None:
        """Where `line` says the stem is, if it would be written there now."""
        stems = line.get("stems")
        said = stems.get(stem) if isinstance(stems, dict) else None
        if not isinstance(said, str):
            return None
        path = stem_file(self._settings, song, stem, Path(said).suffix)
        return path if path.suffix in OUTPUT_SUFFIXES and str(path.absolute()) == said else None


def known_songs(journal: Journal | None, common: dict[str, Any], settings: Settings) -> KnownSongs | None:
    """Those of `journal`, which says `common` on its lines from now on, if such songs are to be skipped."""
    if journal is None:
        return None
    journal.common = common
    return KnownSongs(journal.path, common, settings) if settings.existing == "skip" else None


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError:  # a run was killed while it wrote
        return {}
    return line if isinstance(line, dict) else {}
