"""The folder of fetched checkpoints, and whether the file in it is the right one."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from bsmamba2.catalogue.entries import Entry, sha256_of
from bsmamba2.errors import DownloadError


def cache_folder() -> Path:
    """$BSM_CACHE, or the folder `bsmamba2/checkpoints` of the user's cache."""
    given = os.environ.get("BSM_CACHE")
    return Path(given).expanduser() if given else user_cache_path("bsmamba2") / "checkpoints"


def by_hand(entry: Entry, path: Path) -> str:
    """What to do if a file cannot be fetched."""
    return f"download {' or '.join(entry.addresses)} by hand and put it at {path}"


def checked(entry: Entry, path: Path) -> Path:
    """`path`, a file in the cache. Raises DownloadError, and leaves it as it is, if it is not that of `entry`."""
    remedy = "remove or rename it" + ("" if entry.addresses else f", and put the right file at {path}")
    try:
        if not path.is_file():
            raise DownloadError(f"{path}: is not a file: {remedy}")
        size = path.stat().st_size
        if size != entry.bytes:
            raise DownloadError(f"{path}: has {size} bytes, {entry.name} has {entry.bytes}: {remedy}")
        if sha256_of(path) != entry.sha256:
            raise DownloadError(f"{path}: is not {entry.name} (another sha256 than the catalogue's): {remedy}")
    except OSError as error:
        raise DownloadError(f"{path}: cannot be read ({error.strerror or error})") from error
    return path
