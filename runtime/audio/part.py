"""Files written under a temporary name beside their target, and renamed when all of them are complete."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.audio.leftovers import temporary_name
from runtime.errors import AudioError

EXISTING = ("refuse", "skip", "replace")  # what to do if a file of the name exists


class Part(io.FileIO):
    """A new file ".bsm-*.part" in the folder of `path`, with the default permissions of a new file.

    libsndfile writes through it, from C, where an exception would be lost: the first one is kept in `error`. If `path`
    is a symbolic link, its target is replaced. Raises AudioError if `path` cannot be a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: BaseException | None = None
        try:
            self.target = Path(os.path.realpath(path))
            _check_target(path, self.target)
            self.part = self.target.parent / temporary_name(".part")
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            super().__init__(os.open(self.part, flags, 0o666), "r+")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise cannot_write(path, error) from error

    def write(self, data: Any) -> int:
        """Write `data`; on an error less of it, with the reason in `error`; nothing after an error."""
        done, view = 0, memoryview(data).cast("B")
        if self.error is not None:
            return 0
        try:
            while done < len(view):
                done += super().write(view[done:])
        except BaseException as error:
            self.error = error
        return done

    def check(self) -> None:
        """Raises the error of `write`, if any, an OSError as AudioError."""
        if isinstance(self.error, OSError):
            raise cannot_write(self.path, self.error) from self.error
        if self.error is not None:
            raise self.error

    def finish(self) -> None:
        """Close it, with its content on the disk: a power cut after it gets its name does not lose the content."""
        try:
            os.fsync(self.fileno())
            self.close()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def discard(self) -> None:
        with suppress(OSError):
            self.close()
        with suppress(OSError):
            self.part.unlink()


def put_in_place(parts: Sequence[Part], existing: str = "replace") -> list[Part]:
    """Give finished parts their names: all of them, or none, and every earlier file stays. Raises AudioError.

    `existing`, one of `EXISTING`, says what happens if another file has the name: "refuse" raises, "skip" leaves that
    part out, "replace" replaces the file. With the first two a part gets a name only if it is still free at that
    moment, whatever other processes do. Returns the parts that got their names.
    """
    if existing == "replace":
        _replace(parts)
        return list(parts)
    return _take_free_names(parts, existing)


def _replace(parts: Sequence[Part]) -> None:
    earlier: dict[Path, Path] = {}
    placed: list[Path] = []
    try:
        for part in parts:
            try:
                if os.path.lexists(part.target):
                    aside = part.part.with_suffix(".old")
                    earlier[part.target] = aside
                    _second_name(part.target, aside)
                placed.append(part.target)
                part.part.replace(part.target)
            except OSError as error:
                raise cannot_write(part.path, error) from error
    except BaseException:
        for target in placed:
            if target not in earlier:
                target.unlink(missing_ok=True)
        for target, aside in earlier.items():
            if aside.exists():
                aside.replace(target)
                aside.unlink(missing_ok=True)  # two names of one file: replacing did nothing
        raise
    for aside in earlier.values():
        with suppress(OSError):
            aside.unlink()


def _take_free_names(parts: Sequence[Part], existing: str) -> list[Part]:
    own = [(part.target, part.part.stat()) for part in parts]
    placed = []
    try:
        for part in sorted(parts, key=lambda part: part.target):  # in one order, so that of two processes one gets all
            try:
                _take_free_name(part)
            except FileExistsError as error:
                if existing == "refuse":
                    raise AudioError(
                        f"{part.path}: already exists, another process wrote it in the meantime: choose another folder "
                        "with -o, or give --overwrite or --skip-existing"
                    ) from error
            except OSError as error:
                raise cannot_write(part.path, error) from error
            else:
                placed.append(part)
    except BaseException:
        for target, file in own:
            with suppress(OSError):
                if os.path.samestat(target.lstat(), file):
                    target.unlink()
        raise
    for part in placed:
        part.part.unlink(missing_ok=True)
    return placed


def _take_free_name(part: Part) -> None:
    """Give `part` its name, complete from the first moment if the file system allows. Raises FileExistsError."""
    try:
        os.link(part.part, part.target)
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links (FAT, some network shares): an empty file reserves the name
        os.close(os.open(part.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            part.part.replace(part.target)
        except BaseException:
            with suppress(OSError):
                part.target.unlink()
            raise


def _second_name(path: Path, other: Path) -> None:
    """Let the file at `path` also have the name `other`; without hard links, only that name."""
    try:
        os.link(path, other)
    except OSError:
        path.replace(other)


def _check_target(path: Path, target: Path) -> None:
    """Raises before the work, not after it, if a file cannot get this name."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise AudioError(f"{path}: is {'a folder' if stat.S_ISDIR(mode) else 'not a file'}: choose another name")


def cannot_write(path: Path, error: BaseException) -> AudioError:
    return AudioError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})")
