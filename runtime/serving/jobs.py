"""Jobs: what became of each song that was sent, in memory and in a folder of its own, so that a restart loses none.

    FOLDER/jobs/ID/job.json, song, stems/STEM.wav, previews/STEM.mp3
    FOLDER/incoming/ID/    songs that are being received

A job's folder appears with a rename when its song is whole, and `job.json` is replaced by a rename: at any moment the
disk holds the whole of a state. Names of files are made here, never by a client.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from runtime.errors import OptionError

WAITING, WORKING, DONE, FAILED, CANCELLED = STATES = ("waiting", "working", "done", "failed", "cancelled")
FINAL = (DONE, FAILED, CANCELLED)


def new_id() -> str:
    """32 hexadecimal digits, which nobody can guess."""
    return secrets.token_hex(16)


@dataclass(eq=False)
class Job:
    """A song to separate, and what became of it. Times are seconds since 1970."""

    id: str
    name: str  # the song's file name, for show
    engine: str
    stems: list[str]  # that are wanted
    format: str | None
    created: float
    seconds: float | None = None  # length of the song
    room: int = 0  # bytes that it may take while it is separated
    state: str = WAITING
    tries: int = 0  # that were begun
    finished: float | None = None
    error: str | None = None  # one line
    files: list[dict[str, Any]] = field(default_factory=list)  # name, file, type and bytes of each stem
    # Not kept on the disk:
    progress: float = 0.0  # 0 to 1
    started: float | None = None  # when the present try was

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def seconds_left(self) -> float | None:
        if self.state != WORKING or self.started is None or self.progress < 0.05:
            return None
        return (time.time() - self.started) * (1.0 - self.progress) / self.progress

    def file_of(self, stem: str) -> dict[str, Any] | None:
        return next((each for each in self.files if each["name"] == stem), None)


VOLATILE = ("progress", "started")


class Store:
    """The jobs below `folder`, which belongs to this process alone until `close`."""

    def __init__(self, folder: Path) -> None:
        """Removes what a killed server has left half done. Raises OptionError if the folder cannot be used."""
        self.folder = folder
        self.jobs: dict[str, Job] = {}  # in the order in which they came
        try:
            for each in (folder, folder / "jobs", folder / "incoming"):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(folder / "lock")
            shutil.rmtree(folder / "incoming")
            (folder / "incoming").mkdir(mode=0o700)
        except OSError as error:
            raise OptionError(f"--data {folder}: cannot be used ({error.strerror or error})") from error
        found = [job for path in (folder / "jobs").iterdir() if (job := self._load(path)) is not None]
        for job in sorted(found, key=lambda job: job.created):
            self.jobs[job.id] = job

    def _load(self, path: Path) -> Job | None:
        try:
            read = json.loads((path / "job.json").read_text())
            job = Job(**{each.name: read[each.name] for each in fields(Job) if each.name not in VOLATILE})
            if job.id != path.name or job.state not in STATES:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            shutil.rmtree(path, ignore_errors=True)  # it was being removed
            return None
        (path / "job.json.new").unlink(missing_ok=True)
        if job.state != DONE:
            self._clear(path)
        if job.state == WORKING:
            job.state = WAITING
        return job

    def path(self, job: Job) -> Path:
        return self.folder / "jobs" / job.id

    def incoming(self, name: str) -> Path:
        """A new folder for a song that is being received."""
        path = self.folder / "incoming" / name
        path.mkdir(mode=0o700)
        return path

    def add(self, job: Job, received: Path) -> None:
        """A job whose song is the file `song` in the folder `received`, which becomes the job's."""
        self._write(job, received)
        received.rename(self.path(job))
        _sync(self.folder / "jobs")
        self.jobs[job.id] = job

    def save(self, job: Job) -> None:
        """Keep the present state, unless the job was removed."""
        if job.id in self.jobs:
            self._write(job, self.path(job))

    def _write(self, job: Job, folder: Path) -> None:
        kept = {name: value for name, value in asdict(job).items() if name not in VOLATILE}
        new = folder / "job.json.new"
        with new.open("w") as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / "job.json")

    def tidy(self, job: Job) -> None:
        """Remove what is of no use in its present state: the stems of an unfinished try, the song of a finished job."""
        if job.state != DONE:
            self._clear(self.path(job))
        if job.is_final:
            (self.path(job) / "song").unlink(missing_ok=True)

    def _clear(self, path: Path) -> None:
        for each in ("stems", "previews"):
            shutil.rmtree(path / each, ignore_errors=True)

    def remove(self, job: Job) -> None:
        """Remove a job and all of its files."""
        self.jobs.pop(job.id, None)
        path = self.path(job)
        gone = self.folder / "incoming" / f"{job.id}.gone"  # a half-removed job is none
        with suppress(OSError):
            path = path.rename(gone)
        shutil.rmtree(path, ignore_errors=True)

    def count(self, state: str) -> int:
        return sum(job.state == state for job in self.jobs.values())

    def unfinished(self) -> Iterator[Job]:
        return (job for job in self.jobs.values() if not job.is_final)

    def close(self) -> None:
        os.close(self._lock)


def _lock(path: Path) -> int:
    """Held until it is closed. Raises OptionError if another server has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        pass
    except OSError as error:
        os.close(file)
        raise OptionError(f"--data {path.parent}: another bsm-serve uses it: give another folder") from error
    return file


def _sync(folder: Path) -> None:
    """The names in `folder` are on the disk, too."""
    with suppress(OSError):  # Windows
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
