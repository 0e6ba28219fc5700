"""`bsm-run` with processes that share the work: on this machine, and with others through a shared folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.cluster.board import Board
from runtime.cluster.claims import Claims
from runtime.cluster.drive import drive
from runtime.cluster.local import LocalProcesses
from runtime.cluster.on_ray import ray_executor
from runtime.cluster.shared import SharedFolder
from runtime.cluster.sharing import Measured, may_use_gpu, with_threads
from runtime.cluster.status import failures_of
from runtime.cluster.work import Executor, Job
from runtime.engine.reading import engine_sha256, read_manifest
from runtime.engine.stems import stems_of
from runtime.errors import OptionError
from runtime.songs.batch import Settings
from runtime.songs.inputs import NamedSong, absolute, find_songs, is_pipe, recorded, shown
from runtime.songs.journal import Journal, common_fields
from runtime.songs.known import known_songs
from runtime.songs.settle import settle, sweep_for
from runtime.songs.telling import say


def separate_in_processes(
    engine: Path,
    options: dict[str, Any],
    songs: list[NamedSong],
    wish: Settings,
    jobs: int | None,
    journal: Journal | None,
    debug: bool,
    ray: str | None = None,
) -> int:
    """Separate `songs` in `jobs` processes (None: as many as cores and memory allow); returns the exit code.

    With `ray`, an address as in `OnRay`, they are workers of Ray (None: as many as there is room for).
    `options` are those of `open_separator`, `wish` is as in `settle`. Raises SeparationError.
    """
    manifest = read_manifest(engine, to_open=True)
    named, settings = settle(*_absolute(songs, wish), stems_of(manifest))
    known = known_songs(journal, common_fields(engine, manifest, settings), settings)
    sweep_for(named, settings)
    executor: Executor
    if ray is None:
        executor = _processes(engine, options, settings, jobs, len(named))
    else:
        executor = ray_executor(ray, engine, options, settings, jobs)
    return drive(executor, named, journal, known, debug)


def separate_shared(
    folder: Path,
    engine: Path,
    options: dict[str, Any],
    given: list[Path | NamedSong],
    recursive: bool,
    wish: Settings,
    jobs: int | None,
    debug: bool,
) -> int:
    """Take part in the run whose files are in `folder`, or begin it; returns the exit code: 2 if any song failed.

    Songs are looked for, as by `find_songs`, only by the first process. Raises SeparationError.
    """
    manifest = read_manifest(engine, to_open=True)
    available = stems_of(manifest)
    wish = replace(wish, folder=absolute(wish.folder))
    songs = [recorded(each) if isinstance(each, Path) else [recorded(each.path), str(each.name)] for each in given]
    same = {
        "engine_sha256": engine_sha256(engine, manifest),
        "songs": hashlib.sha256(json.dumps([recursive, songs]).encode()).hexdigest(),
        **_of_the_result(options, wish),
    }

    def settled() -> list[NamedSong]:
        found = find_songs(given, recursive, wish.folder)
        if found.unreadable:
            raise OptionError(found.unreadable[0])
        return settle(*_absolute(found.songs, wish), available)[0]

    shared = SharedFolder.open(folder, same, settled)
    named, settings = settle(shared.songs, wish, available)
    sweep_for(named, settings)
    executor = _processes(engine, options, settings, jobs, len(named))
    board = Board(shared.board, shared.owner, shared.lease)
    with Journal(shared.journal, common_fields(engine, manifest, settings)) as journal:
        drive(Claims(executor, board, executor.job, shared.lease), named, journal, None, debug)
    failed = failures_of(board, named)
    if failed:
        say(f"{len(failed)} of all {len(named)} songs failed, here or elsewhere (bsm-run --status {folder} says why)")
    return 2 if failed else 0


def _absolute(songs: list[NamedSong], wish: Settings) -> tuple[list[NamedSong], Settings]:
    """As other processes and machines can use them. Raises OptionError."""
    for song in songs:
        if is_pipe(song.path):
            raise OptionError(
                f"{shown(song.path)}: can be read only once: separate it alone, without --jobs and --shared"
            )
    return (
        [replace(song, path=absolute(song.path)) for song in songs],
        replace(wish, folder=absolute(wish.folder)),
    )


def _of_the_result(options: dict[str, Any], wish: Settings) -> dict[str, Any]:
    """The options that the stems depend on."""
    kept = {key: options[key] for key in ("overlap", "tta", "shifts", "procedure", "precision_hint")}
    names = ("stems", "format", "subtype", "clip", "channels", "existing", "plot")
    return kept | {"output": recorded(wish.folder)} | {name: getattr(wish, name) for name in names}


def _processes(
    engine: Path, options: dict[str, Any], settings: Settings, jobs: int | None, songs: int
) -> LocalProcesses:
    on_gpu = may_use_gpu(engine, options["device"])
    path = engine.absolute()
    if jobs is None and not on_gpu:
        sizing = Measured(options, songs)
        first = with_threads(options, sizing.most, on_gpu)
        return LocalProcesses(Job(path, settings, first), 1, sizing=sizing)
    jobs = min(jobs or 1, songs)
    return LocalProcesses(Job(path, settings, with_threads(options, jobs, on_gpu)), jobs)
