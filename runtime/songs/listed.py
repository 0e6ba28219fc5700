"""Songs of a list in a file: `bsm-run --list`."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from runtime.errors import OptionError
from runtime.songs.inputs import STDIN, NamedSong

LONGEST = 1 << 16  # bytes of a line


def read_list(path: Path) -> list[Path | NamedSong]:
    """The songs in the file `path` (`-`: standard input), one a line: a path, or JSON with `song` and maybe `name`.

    Relative paths are relative to the current folder. A song with a `name` has it settled: its stems are called
    NAME_<stem>. Empty lines are skipped. Raises OptionError, with the number of the line.
    """
    songs = parse_list(_lines(path), f"--list {path}")
    if not songs:
        raise OptionError(f"--list {path}: no songs in it: expected a path a line, or JSON lines with song and name")
    return songs


def parse_list(lines: Iterable[bytes], source: str, first_line: int = 1) -> list[Path | NamedSong]:
    """As `read_list`; `source` and `first_line` are for messages."""
    songs: list[Path | NamedSong] = []
    names: dict[str, int] = {}
    for number, line in enumerate(lines, first_line):
        where = f"{source}, line {number}"
        song, name = _entry(line, where)
        if song is None:
            continue
        if song == STDIN:
            raise OptionError(f"{where}: standard input is no song of a list: write ./- for a file of this name")
        if name is None:
            songs.append(song)
            continue
        first = names.setdefault(unicodedata.normalize("NFC", str(name)).casefold(), number)
        if first != number:
            raise OptionError(f"{where}: the name {name} is that of line {first} already: give each song its own")
        songs.append(NamedSong(song, name, by_name=True, settled=True))
    return songs


def _lines(path: Path) -> Iterator[bytes]:
    try:
        if path == STDIN:
            if sys.stdin is None or sys.stdin.isatty():
                raise OptionError("--list -: standard input is a terminal or closed: pipe the list into it")
            yield from sys.stdin.buffer
        else:
            with path.open("rb") as file:
                while line := file.readline(LONGEST + 1):
                    yield line
    except OSError as error:
        raise OptionError(f"--list {path}: cannot be read ({error.strerror or error})") from error


def _entry(raw: bytes, where: str) -> tuple[Path | None, Path | None]:
    """The song and the name of a line, if it has them."""
    if len(raw) > LONGEST:
        raise OptionError(f"{where}: longer than {LONGEST} bytes: expected a path or JSON")
    line = raw.rstrip(b"\r\n")
    if not line.strip():
        return None, None
    if b"\0" in line:
        raise OptionError(f"{where}: holds a NUL: expected text")
    if not line.startswith(b"{"):
        return Path(os.fsdecode(line)), None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise OptionError(f'{where}: is no JSON ({error}): expected {{"song": PATH}} or a path') from error
    song, name = entry.get("song"), entry.get("name")
    if not isinstance(song, str) or not song or "\0" in song:
        raise OptionError(f'{where}: has no song: expected {{"song": PATH, "name": NAME}}')
    return Path(song), None if name is None else _checked_name(name, where)


def _checked_name(name: object, where: str) -> Path:
    """A name that stays in the output folder."""
    if not isinstance(name, str) or not Path(name).name or "\0" in name:
        raise OptionError(f"{where}: name {name!r}: expected text that can name a file")
    outside = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or PureWindowsPath(name).root
    if outside or ".." in (*PurePosixPath(name).parts, *PureWindowsPath(name).parts):
        raise OptionError(f"{where}: name {name!r}: must stay in the output folder: no absolute path and no ..")
    return Path(name)
