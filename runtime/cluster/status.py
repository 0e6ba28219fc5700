"""How far a shared run is: `bsm-run --status DIR`, at any time, from any machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from runtime.cluster.board import Board
from runtime.cluster.claims import LEASE
from runtime.cluster.shared import JOURNALS, SharedFolder, read_run
from runtime.printable import counted, printable
from runtime.songs.inputs import NamedSong, shown

WINDOW = timedelta(hours=1)  # whose songs the rate is of


def failures_of(board: Board, songs: Sequence[NamedSong]) -> dict[int, str]:
    """Why songs failed, by their numbers."""
    return {song: board.reason(song) for song in sorted(board.listing().failed) if 1 <= song <= len(songs)}


def describe(folder: Path) -> list[str]:
    """Lines: what is done, who is at what, what failed and why, how fast it goes. Raises OptionError."""
    _, songs = read_run(folder)
    shared = SharedFolder(folder, songs, {}, LEASE)
    board = Board(shared.board, {}, shared.lease)
    found = board.listing()
    failed = failures_of(board, songs)
    numbers = range(1, len(songs) + 1)  # files of other names are not of this run
    done = found.done.intersection(numbers)
    running = {song: tries for song, tries in sorted(found.tries.items()) if song in numbers and song not in done}
    left = len(songs) - len(done)
    lines = [
        f"{len(songs)} songs: {len(done) - len(failed)} done, {len(failed)} failed, {len(running)} claimed, "
        f"{left - len(running)} waiting"
    ]
    now = board.now()
    hosts: Counter[str] = Counter()
    silent = []
    for song, tries in running.items():
        owner, heard = board.owner_of(song, tries)
        where = f"{owner.get('host', '?')} ({owner.get('process', '?')})"
        hosts[where] += 1
        if owner and now - heard > shared.lease:
            silent.append(
                f"  {shown(songs[song - 1].path)}: {where} was not heard of for {now - heard:.0f} s (try {tries})"
            )
    lines += [f"  {host}: {counted(number, 'song')}" for host, number in sorted(hosts.items())]
    lines += silent
    lines += [f"failed: {reason}" for reason in failed.values()]
    rate = _rate(folder, datetime.now(timezone.utc))
    if rate:
        time_left = f", {timedelta(seconds=round(left / rate * 3600))} left" if left else ""
        lines.append(f"{rate:.0f} songs per hour{time_left}")
    return [printable(line) for line in lines]


def _rate(folder: Path, now: datetime) -> float | None:
    """Songs per hour, of the last hour."""
    times = [time for time in _times(folder) if now - time <= WINDOW]
    if len(times) < 2:
        return None
    seconds = (max(now, *times) - min(times)).total_seconds()
    return (len(times) - 1) / seconds * 3600 if seconds else None


def _times(folder: Path) -> Iterator[datetime]:
    """When songs were finished, by the journals."""
    for path in sorted((folder / JOURNALS).glob("*.jsonl")):
        for raw in path.read_bytes().splitlines():
            try:
                time = datetime.fromisoformat(json.loads(raw)["time"])
            except (ValueError, KeyError, TypeError):  # it is being written
                continue
            if time.tzinfo is not None:
                yield time
