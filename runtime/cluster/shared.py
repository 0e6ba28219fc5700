"""The folder that the processes of a shared run have in common: its list of songs, fixed by the first of them."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.audio.part import Part, put_in_place
from runtime.cluster.claims import LEASE
from runtime.errors import AudioError, OptionError
from runtime.songs.inputs import NamedSong, recorded
from runtime.songs.listed import parse_list

LIST = "list.jsonl"
SONGS = "songs"
JOURNALS = "journals"
HEAD = {"kind": "bsm-run --shared", "version": 1}


@dataclass(frozen=True)
class SharedFolder:
    """`list.jsonl` (what the run does, then a song a line), `songs/` (see `Board`), `journals/` (one a process)."""

    folder: Path
    songs: list[NamedSong]
    owner: dict[str, Any]  # how this process calls itself
    lease: float

    @property
    def board(self) -> Path:
        return self.folder / SONGS

    @property
    def journal(self) -> Path:
        return self.folder / JOURNALS / f"{self.owner['name']}.jsonl"

    @staticmethod
    def open(folder: Path, same: dict[str, Any], songs: Callable[[], list[NamedSong]]) -> SharedFolder:
        """The run in `folder`, which is begun there with `songs()` if there is none.

        `same` must be equal for all its processes. Raises OptionError.
        """
        head = json.loads(json.dumps(HEAD | same, default=str))
        path = folder / LIST
        try:
            for each in (SONGS, JOURNALS):
                (folder / each).mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _begin(path, head, songs())
        except OSError as error:
            raise OptionError(f"--shared {folder}: cannot be written ({error.strerror or error})") from error
        found, listed = read_run(folder)
        for key, value in head.items():
            if found.get(key) != value:
                what = "other songs" if key == "songs" else f"{key} {found.get(key)!r}, not {value!r}"
                raise OptionError(f"--shared {folder}: its run has {what}: give the same command, or another folder")
        return SharedFolder(folder, listed, _owner(), LEASE)


def read_run(folder: Path) -> tuple[dict[str, Any], list[NamedSong]]:
    """What the run in `folder` does, and its songs. Raises OptionError."""
    path = folder / LIST
    try:
        first, *lines = path.read_bytes().splitlines()
        head = json.loads(first)
    except OSError as error:
        raise OptionError(
            f"{path}: cannot be read ({error.strerror or error}): expected a folder of --shared"
        ) from error
    except ValueError as error:
        raise OptionError(f"{path}: is not the list of a run: expected a folder of --shared") from error
    if not isinstance(head, dict) or any(head.get(key) != value for key, value in HEAD.items()):
        raise OptionError(f"{path}: is not the list of a run of this version: expected a folder of --shared")
    return head, [song for song in parse_list(lines, str(path), 2) if isinstance(song, NamedSong)]


def _begin(path: Path, head: dict[str, Any], songs: list[NamedSong]) -> None:
    lines = [head, *({"song": recorded(song.path), "name": str(song.name)} for song in songs)]
    try:
        part = Part(path)
        try:
            part.write("".join(f"{json.dumps(line)}\n" for line in lines).encode())
            part.check()
            part.finish()
            put_in_place([part], "skip")  # another process may have been faster
        finally:
            part.discard()
    except AudioError as error:
        raise OptionError(f"--shared: {error}") from error


def _owner() -> dict[str, Any]:
    host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64]
    return {"host": host, "process": os.getpid(), "name": f"{host}-{os.getpid()}-{secrets.token_hex(4)}"}
