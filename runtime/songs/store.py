"""Object stores (s3://, gs://, az://): what an object's address is, and objects to and from the local disk.

An address is kept as a Path, `s3:/bucket/name`, as songs and folders are; `address` writes it as users do. A store is
asked again when a request fails, a few times, with growing pauses.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from runtime.errors import AudioError, OptionError
from runtime.printable import counted

LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}  # what fsspec opens stores with
PIECE = 8 << 20  # bytes a request asks for
PAUSES = (0.5, 2.0, 8.0)  # s before each further try
SPARE = 64 << 20  # bytes a song must leave free on the disk it is fetched to
# What another try does not change.
FINAL = (PermissionError, IsADirectoryError, NotADirectoryError)
T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """An object, or something in its place in a list that cannot be used."""

    address: str
    path: Path | None  # None: its name cannot be that of a file
    size: int  # bytes


def is_address(path: Path) -> bool:
    """Whether it names an object, or a folder, of a store."""
    return bool(path.parts) and path.parts[0][-1] == ":" and path.parts[0][:-1] in LIBRARIES


def address(path: Path) -> str:
    """Such as "s3://bucket/name" for an address, and any other path as it is."""
    return path.as_posix().replace(":/", "://", 1) if is_address(path) else str(path)


def check_address(path: Path) -> None:
    """Raises OptionError for an address without a bucket, or one that leads out of it."""
    if len(path.parts) < 2 or ".." in path.parts:
        raise OptionError(f"{address(path)}: must be like {path.parts[0]}//BUCKET/FOLDER, without '..'")


def size_of(path: Path) -> int | None:
    """Bytes of the object, None if there is none. Raises AudioError if the store does not answer."""
    try:
        info = _info(path)
    except FileNotFoundError:
        return None
    return int(info["size"] or 0) if info["type"] == "file" else None


def objects(folder: Path, recursive: bool) -> Iterator[Stored]:
    """What is in `folder`, sorted by name. Raises AudioError."""
    depth = None if recursive else 1
    found = _tried(folder, "listed", lambda fs, name: fs.find(name, maxdepth=depth, detail=True))
    scheme = folder.parts[0]
    for name in sorted(found):
        if not name.endswith("/"):  # an object that stands for a folder
            path, whole = Path(f"{scheme}//{name}"), f"{scheme}//{name}"
            plain = address(path) == whole and path.is_relative_to(folder) and not {"..", "\0"} & {*path.parts, *name}
            yield Stored(whole, path if plain else None, int(found[name]["size"] or 0))


def fetch(path: Path, target: Path) -> None:
    """Copy the object to the new file `target`, piece by piece. Raises AudioError, also if the disk has no room."""
    before = _existing(path)
    if before["type"] != "file":
        raise AudioError(f"{address(path)}: is a folder, not a song")
    size = int(before["size"] or 0)
    free = shutil.disk_usage(target.parent).free
    if size > free - SPARE:
        raise AudioError(
            f"{address(path)}: has {size / 1e6:.0f} MB, more than fit on the disk of {target.parent.parent} "
            f"({free / 1e6:.0f} MB free): set TMPDIR to a folder of a larger disk"
        )
    try:
        with target.open("xb") as file:
            for start in range(0, size, PIECE):
                file.write(_piece(path, start, min(size, start + PIECE)))
    except OSError as error:
        raise AudioError(f"{address(path)}: cannot be copied to {target.parent} ({error.strerror or error})") from error
    after = _existing(path)
    if any(before.get(key) != after.get(key) for key in ("size", "ETag", "etag")):
        raise AudioError(f"{address(path)}: was replaced while it was fetched: separate it again")


def _piece(path: Path, start: int, end: int) -> bytes:
    def get(fs: Any, name: str) -> bytes:
        data: bytes = fs.cat_file(name, start=start, end=end)
        if len(data) != end - start:
            raise ConnectionError(f"{len(data)} of {counted(end - start, 'byte')} came")
        return data

    return _tried(path, "read", get)


def put(source: Path, path: Path) -> None:
    """Copy a file to an object, which appears when it is whole. Raises AudioError."""
    size = source.stat().st_size

    def copy(fs: Any, name: str) -> None:
        fs.put_file(str(source), name)
        there = fs.info(name)["size"]
        if there != size:
            raise ConnectionError(f"{there} of {counted(size, 'byte')} arrived")

    _tried(path, "written", copy)


def read(path: Path, limit: int) -> bytes | None:
    """A small object, None if there is none. Raises AudioError for one of more than `limit` bytes."""
    size = size_of(path)
    if size is None:
        return None
    if size > limit:
        raise AudioError(f"{address(path)}: has {counted(size, 'byte')}, expected at most {limit}: remove it")
    return _piece(path, 0, size) if size else b""


def write(data: bytes, path: Path) -> None:
    """A small object. Raises AudioError."""
    _tried(path, "written", lambda fs, name: fs.pipe_file(name, data))


def remove(path: Path) -> None:
    """Raises AudioError; an object that is not there is no error."""
    try:
        _tried(path, "removed", lambda fs, name: fs.rm_file(name))
    except FileNotFoundError:
        return


def _existing(path: Path) -> dict[str, Any]:
    try:
        return _info(path)
    except FileNotFoundError as error:
        raise AudioError(f"{address(path)}: there is no such object: check the address") from error


def _info(path: Path) -> dict[str, Any]:
    """Raises FileNotFoundError."""
    return _tried(path, "read", lambda fs, name: fs.info(name))


def _tried(path: Path, done: str, action: Callable[[Any, str], T]) -> T:
    """`action` with the file system of `path` and its name there, again and again if it fails.

    Raises FileNotFoundError, or AudioError for all else.
    """
    fs, name = _file_system(path), "/".join(path.parts[1:])
    for pause in (*PAUSES, None):
        try:
            return action(fs, name)
        except FileNotFoundError:
            raise
        except Exception as error:  # each library has its own, beside OSError
            final = isinstance(error, FINAL)
            if pause is None or final:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
                tries = "" if final else f", tried {len(PAUSES) + 1} times"
                raise AudioError(f"{address(path)}: cannot be {done} ({reason}{tries})") from error
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that many workers do not come back at once
    raise AssertionError  # the last round returns or raises


def _file_system(path: Path) -> Any:
    """Its settings are those of its library: environment, files of the user, the machine's role.

    Raises OptionError without the library.
    """
    scheme = path.parts[0][:-1]
    check_address(path)
    try:
        import fsspec

        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise OptionError(
            f"{address(path)}: {LIBRARIES[scheme]} is not installed: pip install 'bsmamba2[cloud]'"
        ) from error
