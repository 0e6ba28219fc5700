"""Songs one after the other through one engine in this process: what becomes of each is told and noted at once."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import SeparationError
from runtime.songs.batch import Batch, Outcome
from runtime.songs.inputs import NamedSong, shown
from runtime.songs.journal import Journal
from runtime.songs.known import KnownSongs
from runtime.songs.progress import all_progress
from runtime.songs.telling import outcome_lines, say, summary


def separate_in_turn(
    batch: Batch, songs: Sequence[NamedSong], journal: Journal | None, known: KnownSongs | None, debug: bool
) -> int:
    """Returns the exit code: 2 if a song failed. The error of a single song is raised."""
    done: list[Outcome] = []
    failures = 0
    for i, song in enumerate(songs, 1):
        name = shown(Path(song.path.name))
        label = name if len(songs) == 1 else f"{i} of {len(songs)}: {name}"
        try:
            outcome = None if known is None else known.outcome(song)
            if outcome is None:
                with all_progress(label) as tell:
                    outcome = batch.separate(song, tell)
        except SeparationError as error:
            failures += 1
            if journal is not None:
                journal.add_failed(song.path, str(error))
            if len(songs) == 1:
                raise
            if debug:
                traceback.print_exc()
            say(str(error))
        else:
            done.append(outcome)
            if journal is not None:
                journal.add(**outcome.fields())
            print("\n".join(outcome_lines(outcome, shown(outcome.song))))
    if len(songs) > 1:
        print(summary(done, failures))
    if failures:
        say(f"{failures} of {len(songs)} songs failed")
    return 2 if failures else 0
