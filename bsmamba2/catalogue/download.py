"""`fetch`: a checkpoint of the catalogue into the cache: whole, of the right hash, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

from bsmamba2.catalogue.cache import by_hand, cache_folder, checked
from bsmamba2.catalogue.entries import Entry, sha256_of
from bsmamba2.catalogue.transfer import TransferError, new_client, receive, server_of
from bsmamba2.errors import DownloadError

Tell = Callable[[str], None]
Progress = Callable[[int, int], None]  # bytes received, bytes in all


def fetch(
    entry: Entry,
    folder: Path | None = None,
    *,
    offline: bool = False,
    tell: Tell = lambda text: None,
    progress: Progress = lambda received, total: None,
) -> Path:
    """The path of the entry's checkpoint, NAME.ckpt in `folder` (the cache), downloaded if it is not there.

    `tell` gets the licence before the first byte is asked for, and what a user should know meanwhile. An interrupted
    download keeps NAME.ckpt.part and goes on there. A file that is there already is used if it is the right one, and
    never changed. Raises DownloadError; the entry's `refused` is the caller's business.
    """
    folder = cache_folder() if folder is None else folder
    path = folder / f"{entry.name}.ckpt"
    if path.exists() or path.is_symlink():
        return checked(entry, path)
    if not entry.addresses:
        about = f" ({entry.note})" if entry.note else ""
        raise DownloadError(
            f"{entry.name}: has no address to download from{about}: put your own file of {entry.bytes} bytes at {path}"
        )
    if offline:
        raise DownloadError(f"{path}: is not there, and --offline downloads nothing: {by_hand(entry, path)}")
    with _locked(entry, path, tell):
        if path.exists():  # by the process that had the lock
            return checked(entry, path)
        try:
            _require_space(entry, path)
            tell(f"{entry.name}: {entry.bytes / 1e6:.0f} MB from {server_of(entry.addresses[0])}")
            tell(f"{entry.name}: licence: {entry.licence}")
            _download(entry, path, tell, progress)
        except OSError as error:  # of files: those of the network are TransferErrors
            raise DownloadError(
                f"{_part(path)}: cannot be written ({error.strerror or error}): make room for {entry.bytes} bytes, set "
                f"BSM_CACHE to another folder, or {by_hand(entry, path)}"
            ) from error
    return path


@contextmanager
def _locked(entry: Entry, path: Path, tell: Tell) -> Iterator[None]:
    """The folder exists, and no other process downloads this entry. Raises DownloadError."""
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"{entry.name}: another process downloads it: waiting")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DownloadError(
            f"{path.parent}: cannot be written ({reason}): set BSM_CACHE to a folder of yours, or "
            f"{by_hand(entry, path)}"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _require_space(entry: Entry, path: Path) -> None:
    missing, free = entry.bytes - _size(_part(path)), shutil.disk_usage(path.parent).free
    if free < missing:
        raise DownloadError(
            f"{path.parent}: the disk has {free / 1e6:.0f} MB left, {entry.name} takes {missing / 1e6:.0f}: make room, "
            f"set BSM_CACHE to a folder elsewhere, or {by_hand(entry, path)}"
        )


def _download(entry: Entry, path: Path, tell: Tell, progress: Progress) -> None:
    """Try the addresses in turn until `path` is there. Raises DownloadError."""
    problems = []
    try:
        with new_client() as client:
            for address in entry.addresses:
                problem = _from(client, address, entry, path, progress)
                if problem is None:
                    return
                problems.append(f"{server_of(address)}: {problem}")
                if address != entry.addresses[-1]:
                    tell(f"{entry.name}: {problems[-1]}: trying another address")
    except TransferError as error:
        problems.append(str(error))
    raise DownloadError(f"{entry.name}: not downloaded: {'; '.join(problems)}: {by_hand(entry, path)}")


def _from(client: httpx.Client, address: str, entry: Entry, path: Path, progress: Progress) -> str | None:
    """Download from one address; what went wrong, or None. A wrong part is deleted."""
    part = _part(path)
    for _ in range(2):  # what was there before may be wrong: then once more from the start
        earlier = _size(part)
        try:
            receive(client, address, part, entry.bytes, progress)
        except TransferError as error:
            return str(error)
        if sha256_of(part) == entry.sha256:
            part.replace(path)
            return None
        part.unlink()
        if not earlier:
            break
    return "sent another file (its sha256 is not the catalogue's)"


__all__ = ["cache_folder", "fetch"]
