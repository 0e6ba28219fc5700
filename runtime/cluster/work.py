"""What a run of many songs consists of: a job for all workers, a task for each song, events of what happened to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from runtime.songs.batch import Outcome, Settings
from runtime.songs.inputs import NamedSong

TRIES = 3  # a song whose worker died this often has failed: it may be what kills them


@dataclass(frozen=True)
class Job:
    """What all workers of a run need; it is sent to each of them once."""

    engine: Path  # absolute
    settings: Settings  # with an absolute folder
    options: dict[str, Any] = field(default_factory=dict)  # keywords of `open_separator`


@dataclass(frozen=True)
class Task:
    """A song to separate; its name is settled, so that no other song of the run has it."""

    number: int  # from 1, in the list of all songs of the run
    song: NamedSong  # with an absolute path
    again: bool = False  # a worker died with it: stems that exist may be that worker's, and are not refused


@dataclass(frozen=True)
class Failure:
    """Why a song was not separated."""

    reason: str  # one line, as a user reads it
    details: str = ""  # a traceback, for --debug


@dataclass(frozen=True)
class Started:
    """A worker has begun with a song."""

    task: Task
    worker: str  # a name to show, such as "2" or "host:1234"


@dataclass(frozen=True)
class Progress:
    """How far a song is. An executor may leave these out."""

    task: Task
    stage: str  # what is done with it: `SEPARATION` or `PICTURE`
    done: int  # samples
    samples: int | None  # of the song, if known
    sample_rate: int  # Hz


@dataclass(frozen=True)
class Retried:
    """The worker of a song died; the song will be tried again."""

    task: Task
    tries: int  # that were made so far
    reason: str


@dataclass(frozen=True)
class Finished:
    """The last event of a song."""

    task: Task
    result: Outcome | Failure
    worker: str
    tries: int = 1  # that were made, this one included


@dataclass(frozen=True)
class Note:
    """Something the user should read that is not about one song, such as a note of the backend."""

    text: str


Event = Started | Progress | Retried | Finished | Note


class Executor(Protocol):
    """What brings songs to workers: processes of this machine, a shared folder, Ray."""

    def run(self, tasks: Iterator[Task | None]) -> Iterator[Event]:
        """Separate all `tasks`, each with one `Finished` as its last event; songs finish in any order.

        A task is taken from `tasks` when a worker is free for it. None means: none is ready now, ask again soon.
        A worker that dies costs its song one of `TRIES`. The iterator may be closed early: then workers stop, and
        songs that are not finished leave no files. Raises SeparationError if no worker can start.
        """
        ...
