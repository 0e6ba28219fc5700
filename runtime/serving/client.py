"""`bsm-serve --client URL`: songs to a server, their stems back, with progress on a terminal."""

from __future__ import annotations

import glob
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from runtime.audio.part import Part, put_in_place
from runtime.errors import AudioError, OptionError, SeparationError
from runtime.printable import counted, printable
from runtime.songs.inputs import NamedSong, find_songs
from runtime.songs.names import OUTPUT_SUFFIXES, name_songs
from runtime.songs.progress import song_progress

SUFFIXES = {"audio/wav": ".wav", "audio/flac": ".flac", "audio/ogg": ".ogg", "audio/mpeg": ".mp3"}
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
POLL = 0.5  # s between two questions
PATIENCE = 60.0  # s that a server may be gone, such as to be started again
PIECE = 1 << 18  # bytes
STEPS = 1000  # of a progress whose length is not known in samples


class ServerError(SeparationError):
    """A server that refuses what it is asked for."""


class UnreachableError(ServerError):
    """A server that is not there."""


@dataclass
class Sent:
    """A song that the server has accepted."""

    song: NamedSong
    id: str


def separate_songs(
    url: str,
    songs: list[Path],
    output: Path,
    engine: str | None,
    stems: str | None,
    format: str | None,  # noqa: A002
    token: str | None,
) -> int:
    """Returns the exit code: 2 if a song failed. Raises OptionError, ServerError."""
    if not songs:
        raise OptionError("no songs given: give sound files or folders, and the server with --client URL")
    if not url.startswith(("http://", "https://")):
        raise OptionError(f"--client {url}: expected http://HOST:PORT")
    found = find_songs(songs, False, output)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT, trust_env=False) as http:
        server = Server(http, url)
        named = name_songs(found.songs, output, server.stems(engine))
        fields = {"engine": engine, "stems": stems, "format": format}
        failures = _all(server, named, output, {name: value for name, value in fields.items() if value})
    if failures and len(named) > 1:
        print(f"bsm-serve: {failures} of {counted(len(named), 'song')} failed", file=sys.stderr)
    return 2 if failures else 0


def _all(server: Server, songs: list[NamedSong], output: Path, fields: dict[str, str]) -> int:
    """Send all songs, as the server's queue has room, and fetch their stems; returns how many songs failed."""
    sent: deque[Sent] = deque()
    failures = 0

    @contextmanager
    def one() -> Iterator[None]:
        nonlocal failures
        try:
            yield
        except SeparationError as error:
            failures += 1
            print(f"bsm-serve: {printable(str(error))}", file=sys.stderr)

    def finish() -> None:
        with one():
            server.finish(sent[0], output)
        sent.popleft()

    try:
        for song in songs:
            with one():
                _refuse_existing(song, output)
                while (job := server.send(song, fields)) is None:
                    finish() if sent else time.sleep(server.pause)
                sent.append(job)
        while sent:
            finish()
    except KeyboardInterrupt:
        for each in sent:
            server.cancel(each)
        raise
    return failures


def _refuse_existing(song: NamedSong, output: Path) -> None:
    folder, name = (output / song.name).parent, song.name.name
    for path in folder.glob(f"{glob.escape(name)}_*") if folder.is_dir() else ():
        if path.suffix in OUTPUT_SUFFIXES:
            raise OptionError(f"{path}: already exists: choose another folder with -o")


class Server:
    """What a server is asked. Raises ServerError for all that it refuses, or if it is not there."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http, self._url = http, url
        self.pause = 10.0  # s after which a full queue may have a place

    def stems(self, engine: str | None) -> list[str]:
        """The stems of `engine`, or of the only one."""
        found = {each["name"]: each["stems"] for each in self._read("GET", "/api/engines")["engines"]}
        if engine is None and len(found) == 1:
            engine = next(iter(found))
        if engine not in found:
            raise OptionError(f"--engine {engine or ''}: the server has {', '.join(found)}: name one of them")
        return list(found[engine])

    def send(self, song: NamedSong, fields: dict[str, str]) -> Sent | None:
        """None if the queue is full."""
        try:
            with (
                song.path.open("rb") as file,
                song_progress(f"sending {song.path.name}", song.path.stat().st_size, 1) as progress,
            ):
                told = _Told(file, progress)
                answer = self._http.post("/api/jobs", data=fields, files={"file": (song.path.name, told)})
        except OSError as error:
            raise AudioError(f"{song.path}: cannot be read ({error.strerror})") from error
        except httpx.HTTPError as error:
            raise self._gone(error) from error
        if answer.status_code == 429:
            self.pause = float(answer.headers.get("retry-after", "10"))
            return None
        return Sent(song, self._content(answer, str(song.path))["id"])

    def finish(self, sent: Sent, output: Path) -> None:
        """Wait for a job, and save its stems below `output`: all of them, or none."""
        with song_progress(sent.song.path.name, STEPS, 1) as progress:
            while (job := self._job(sent))["state"] in ("waiting", "working"):
                progress(round(STEPS * job["progress"]))
                time.sleep(POLL)
        if job["state"] != "done":
            raise ServerError(f"{sent.song.path}: {job['error'] or 'was cancelled at the server'}")
        target = output / sent.song.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{target.parent}: cannot be made ({error.strerror}): choose another with -o") from error
        with ExitStack() as stack:
            parts = []
            for stem in job["stems"]:
                if not re.fullmatch(r"[\w -]{1,64}", stem["name"]) or stem["type"] not in SUFFIXES:
                    raise ServerError(f"{self._url}: offers a stem that is none: {stem['name']!r}, {stem['type']!r}")
                part = Part(target.with_name(f"{target.name}_{stem['name']}{SUFFIXES[stem['type']]}"))
                stack.callback(part.discard)
                self._fetch(f"/api/jobs/{sent.id}/stems/{stem['name']}", part)
                parts.append(part)
            put_in_place(parts, "refuse")
        print(f"{printable(str(sent.song.path))}: separated, {job['seconds']:.1f} s")
        for part in parts:
            print(f"  {printable(str(part.path))}")

    def cancel(self, sent: Sent) -> None:
        with suppress(httpx.HTTPError):
            self._http.delete(f"/api/jobs/{sent.id}")

    def _job(self, sent: Sent) -> dict[str, Any]:
        """Its state; a server that is gone may come back soon."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self._read("GET", f"/api/jobs/{sent.id}", str(sent.song.path))
            except UnreachableError:
                if time.monotonic() > end:
                    raise
                time.sleep(POLL)

    def _fetch(self, path: str, part: Part) -> None:
        try:
            with self._http.stream("GET", path) as answer:
                if answer.status_code != 200:
                    answer.read()
                    self._content(answer, str(part.path))
                for piece in answer.iter_bytes(PIECE):
                    part.write(piece)
                    part.check()
        except httpx.HTTPError as error:
            raise self._gone(error) from error
        part.finish()

    def _read(self, method: str, path: str, what: str = "") -> dict[str, Any]:
        try:
            answer = self._http.request(method, path)
        except httpx.HTTPError as error:
            raise self._gone(error) from error
        return self._content(answer, what)

    def _content(self, answer: httpx.Response, what: str) -> dict[str, Any]:
        try:
            content = answer.json()
            error = content.get("error") if answer.is_error else None
        except (ValueError, AttributeError):
            raise ServerError(f"{self._url}: does not answer as bsm-serve ({answer.status_code})") from None
        if answer.is_error:
            hint = ": give --token-file" if answer.status_code == 401 else ""
            raise ServerError(f"{what or self._url}: refused by the server ({answer.status_code}): {error}{hint}")
        return dict(content)

    def _gone(self, error: httpx.HTTPError) -> UnreachableError:
        reason = str(error) or type(error).__name__
        return UnreachableError(f"{self._url}: cannot be reached ({reason}): is bsm-serve running there?")


class _Told:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, told: Callable[[int], None]) -> None:
        self._file, self._told = file, told

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._told(self._file.tell())
        return piece

    def fileno(self) -> int:  # httpx asks for the length
        return self._file.fileno()

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(PIECE), b"")
