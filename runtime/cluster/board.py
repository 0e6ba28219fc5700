"""Who is at which song, as files in a shared folder: any number of processes on any number of machines agree by them.

Song N is claimed for try K by whoever creates `N.try-K`; a file can be created only once. Its time of modification is
kept young by its owner; older than the lease, its owner counts as dead, and try K + 1 can be claimed. `N.done` says
that the song is finished, `N.failed` beside it that it was not separated. All times are those of the file server.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.audio.leftovers import temporary_name
from runtime.cluster.work import TRIES
from runtime.errors import OptionError

NAME = re.compile(r"([0-9]{1,9})\.(?:try-([0-9]{1,3})|(done)|(failed))")
LOOK = 0.5, 10.0  # s between two looks at the folder while there is nothing to claim: twice as long each time, up to
FEW = 1000  # songs that are looked at one by one
MISSES = 16  # claims in a row that others had made before: what is known of the folder is old


class Clock:
    """The time of the file server that holds `folder`: clocks of machines differ."""

    def __init__(self, folder: Path) -> None:
        self._own = folder / temporary_name(".part")

    def touch(self, path: Path) -> None:
        os.utime(path)

    def steady(self) -> float:
        """For how long something takes here, s."""
        return time.monotonic()

    def now(self) -> float:
        with self._own.open("wb"):
            os.utime(self._own)
        seconds = self._own.stat().st_mtime
        self._own.unlink()
        return seconds


@dataclass
class Listing:
    """What the files in the folder say."""

    tries: dict[int, int] = field(default_factory=dict)  # by song: its last try
    done: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Claim:
    song: int
    tries: int  # this one included
    first: int = 1  # the first of them that was this owner's
    dead: bool = False  # all tries were made, and the last owner is dead, too: the song has failed


class Board:
    """The claims in `folder`, for one process, which calls itself `owner` there."""

    def __init__(self, folder: Path, owner: dict[str, Any], lease: float, clock: Clock | None = None) -> None:
        self.folder = folder
        self._owner, self._lease = owner, lease
        self._clock = Clock(folder) if clock is None else clock
        self._order = random.Random(json.dumps(owner, sort_keys=True))  # noqa: S311
        self._free: list[int] = []  # songs that nobody had claimed, when the folder was last listed
        self._misses = 0
        self._next_look = -float("inf")  # after the folder was listed in vain, by `Clock.steady`
        self._pause = LOOK[0]
        self._known = Listing()
        self._waiting: list[int] = []  # songs that others had when the folder was last looked at in vain
        self.held: dict[int, Claim] = {}

    def listing(self) -> Listing:
        found = Listing()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                match = NAME.fullmatch(entry.name)
                if match is None:
                    continue
                song = int(match[1])
                if match[2] is not None:
                    found.tries[song] = max(found.tries.get(song, 0), int(match[2]))
                else:
                    (found.done if match[3] is not None else found.failed).add(song)
        return found

    def take(self, songs: Iterable[int]) -> Claim | None:
        """Claim one of `songs` that is free or whose owner is dead; None if there is none now."""
        while True:
            while self._free and self._misses < MISSES:
                claim = self._try(self._free.pop(), 1)
                if claim is not None:
                    self._misses = 0
                    return claim
                self._misses += 1
            if not self._free and self._clock.steady() < self._next_look:
                return None
            claim = self._look(songs)
            if claim is not None or not self._free:
                return claim

    def _look(self, songs: Iterable[int]) -> Claim | None:
        """List the folder: what is free, or a claim of a song whose owner is dead."""
        found = self._known = self._refreshed() or self.listing()
        self._misses = 0
        self._waiting = []
        left = [song for song in songs if song not in found.done]
        self._free = [song for song in left if song not in found.tries]
        self._order.shuffle(self._free)
        if self._free:
            self._pause = LOOK[0]
        else:
            self._next_look = self._clock.steady() + self._pause
            self._pause = min(2 * self._pause, LOOK[1], self._lease / 10)
            self._waiting = left
            now = self._clock.now()
            claimed = [song for song in left if song not in self.held]
            self._order.shuffle(claimed)
            for song in claimed:
                claim = self._take_over(song, found.tries[song], now)
                if claim is not None:
                    self._next_look, self._pause = -float("inf"), LOOK[0]
                    return claim
        return None

    def _refreshed(self) -> Listing | None:
        """What is known of the folder, brought up to date where only a few songs are left; None: it must be listed."""
        if not 0 < len(self._waiting) <= FEW:
            return None
        for song in self._waiting:
            tries = self._known.tries[song]
            if not self._claim(song, tries).exists():  # given back
                return None
            while self._claim(song, tries + 1).exists():
                tries += 1
            self._known.tries[song] = tries
            if self._done(song).exists():
                self._known.done.add(song)
        return self._known

    def _take_over(self, song: int, tries: int, now: float) -> Claim | None:
        try:
            file = os.open(self._claim(song, tries), os.O_RDONLY)  # opened, it is asked for at the server
        except OSError:  # given back meanwhile
            return None
        try:
            age = now - os.fstat(file).st_mtime
        finally:
            os.close(file)
        if age <= self._lease or self._done(song).exists():
            return None
        if tries >= TRIES:
            return Claim(song, tries, dead=True)
        return self._try(song, tries + 1)

    def _try(self, song: int, tries: int) -> Claim | None:
        claim = Claim(song, tries, tries)
        if not self._create(claim):
            return None
        self.held[song] = claim
        return claim

    def _create(self, claim: Claim) -> bool:
        path = self._claim(claim.song, claim.tries)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._cannot(path, error) from error
        try:
            os.write(file, json.dumps(self._owner).encode())
        finally:
            os.close(file)
        self._clock.touch(path)
        return True

    def again(self, song: int) -> None:
        """The process that worked at `song` for this owner died: that was one of its tries."""
        before = self.held[song]
        claim = replace(before, tries=before.tries + 1)
        if self._create(claim):
            self.held[song] = claim

    def is_finished(self, songs: Iterable[int]) -> bool:
        """Whether all of `songs` were when the folder was last looked at."""
        return self._known.done >= set(songs)

    def beat(self) -> None:
        """Show that this owner is alive; to be called several times in the time of the lease."""
        for claim in list(self.held.values()):
            with suppress(OSError):  # taken by another, or the server does not answer: the next beat may come in time
                self._clock.touch(self._claim(claim.song, claim.tries))

    def finish(self, song: int, failed: bool, outcome: dict[str, Any]) -> bool:
        """Note that `song` is finished; False: another owner, who took this one for dead, has done so before."""
        text = json.dumps(outcome, default=str).encode()
        temporary = self.folder / temporary_name(".part")
        try:
            temporary.write_bytes(text)
            try:
                first = _name_once(temporary, self._done(song))
                if first and failed:
                    _name_once(temporary, self._done(song).with_suffix(".failed"))
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot(self._done(song), error) from error
        self.held.pop(song, None)
        return first

    def give_back(self) -> None:
        """Let others have what is not finished."""
        for claim in list(self.held.values()):
            for tries in range(claim.tries, claim.first - 1, -1):
                with suppress(OSError):
                    self._claim(claim.song, tries).unlink()
        self.held = {}

    def reason(self, song: int) -> str:
        """Why it failed."""
        with suppress(OSError, ValueError):
            return str(json.loads(self._done(song).with_suffix(".failed").read_bytes())["error"])
        return "no reason was noted"

    def owner_of(self, song: int, tries: int) -> tuple[dict[str, Any], float]:
        """Who claimed it (empty if that cannot be read), and when it was last heard of."""
        path = self._claim(song, tries)
        try:
            owner, heard = json.loads(path.read_bytes()), path.stat().st_mtime
        except (OSError, ValueError):
            return {}, 0.0
        return (owner if isinstance(owner, dict) else {}), heard

    def now(self) -> float:
        """The time of the file server, or of this machine where the folder may not be written."""
        try:
            return self._clock.now()
        except OSError:
            return time.time()

    def _claim(self, song: int, tries: int) -> Path:
        return self.folder / f"{song}.try-{tries}"

    def _done(self, song: int) -> Path:
        return self.folder / f"{song}.done"

    def _cannot(self, path: Path, error: OSError) -> OptionError:
        return OptionError(f"--shared: {path} cannot be written ({error.strerror or error})")


def _name_once(file: Path, name: Path) -> bool:
    """Let `file` also have `name`, with its content from the first moment, unless there is such a file."""
    try:
        os.link(file, name)
    except FileExistsError:
        return False
    except OSError:  # no hard links here: an empty file for a moment
        try:
            with name.open("xb") as target:
                target.write(file.read_bytes())
        except FileExistsError:
            return False
    return True
