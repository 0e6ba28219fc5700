"""What the worker processes do: look at a song that was sent, and separate one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runtime.audio import Form, SongReader, check_form, form_for, open_song
from runtime.audio.ffmpeg import forbid_ffmpeg
from runtime.errors import AudioError, SeparationError
from runtime.separation.separator import Separator, open_separator
from runtime.serving.child import Tell, Work
from runtime.serving.previews import BYTES_PER_SECOND, SUFFIX, write_preview
from runtime.songs.separate import separate_file

TYPES = {"WAV": "audio/wav", "FLAC": "audio/flac", "OGG": "audio/ogg", "MP3": "audio/mpeg"}
EVERY = 0.1  # s between two words of progress
DECODING, ENCODING = 0.02, 0.03  # shares of the progress that reading the song first, and the previews, are shown as
ROOM = 1 << 20  # bytes of a file besides its samples


@dataclass(frozen=True)
class Order:
    """A song to look at, or to separate into its folder."""

    song: Path  # absolute
    name: str  # that messages call it
    format: str | None  # of the stems; None: the song's own
    seconds: float  # that it may last
    stems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What a song's file declares."""

    samples: int | None
    sample_rate: int  # Hz
    channels: int


class TooLongError(AudioError):
    """A song that lasts longer than this server allows."""


def looking(ffmpeg: bool) -> Work:
    """Work whose answers are `Seen`."""
    if not ffmpeg:
        forbid_ffmpeg()

    def look(order: Order, tell: Tell) -> Seen:
        with _named(order), open_song(order.song) as song:
            _check(song, order)
            return Seen(song.samples, song.sample_rate, song.channels)

    return look


def separating(engine: Path, options: dict[str, Any], ffmpeg: bool) -> Work:
    """Work that separates songs with `engine`; `options` are those of `open_separator`.

    It tells a share from 0 to 1, and answers with `seconds` of the song and with name, file, type and bytes of `stems`.
    """
    if not ffmpeg:
        forbid_ffmpeg()
    return partial(_separate, open_separator(engine, **options))


def _separate(separator: Separator, order: Order, tell_all: Tell) -> dict[str, Any]:
    last = 0.0

    def tell(share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            tell_all(share)

    _limit_files(int(order.seconds + 1) * BYTES_PER_SECOND + ROOM)
    with _named(order):
        folder = order.song.parent
        stems, previews = folder / "stems", folder / "previews"
        for each in (stems, previews):
            each.mkdir(exist_ok=True)
        with open_song(order.song) as song:
            form = _check(song, order)
            known = song.samples or int(order.seconds * song.sample_rate)
            limit = int(order.seconds * song.sample_rate)

            def count(done: int) -> None:
                if done > limit:
                    raise _too_long(order, done / song.sample_rate)
                tell(DECODING * min(1.0, done / known))

            samples = write_preview(song, previews / f"song{SUFFIX}", count)
            _limit_files(samples * song.channels * 8 + ROOM)
            rate = song.sample_rate
        targets = {stem: stems / f"{stem}{form.suffix}" for stem in order.stems}
        share = 1.0 - DECODING - ENCODING
        separate_file(
            separator, order.song, targets, form, progress=lambda done: tell(DECODING + share * done / samples)
        )
        with ThreadPoolExecutor(len(targets)) as pool:
            list(pool.map(lambda each: _preview(targets[each], previews / f"{each}{SUFFIX}"), targets))
    files = [
        {"name": stem, "file": path.name, "type": TYPES[form.format], "bytes": path.stat().st_size}
        for stem, path in targets.items()
    ]
    return {"seconds": samples / rate, "stems": files}


def _preview(stem: Path, path: Path) -> None:
    with open_song(stem) as song:
        write_preview(song, path, lambda done: None)


def _check(song: SongReader, order: Order) -> Form:
    """The form of its stems. Raises SeparationError for a song that is not for this server."""
    if song.channels > 2:
        raise AudioError(f"{order.song}: has {song.channels} channels: mix it down to one or two first")
    if song.samples is not None and song.samples > order.seconds * song.sample_rate:
        raise _too_long(order, song.samples / song.sample_rate)
    form = form_for(song.form, order.format)
    check_form(form, song.sample_rate, song.channels)
    return form


def _too_long(order: Order, seconds: float) -> TooLongError:
    return TooLongError(f"{order.song}: lasts {seconds:.0f} s: this server takes songs of up to {order.seconds:.0f} s")


def _limit_files(size: int) -> None:
    """No file that this process writes may be larger than `size` bytes: writing more is an error."""
    with suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextmanager
def _named(order: Order) -> Iterator[None]:
    """Errors call the song as its sender does, and no folder of this machine."""
    try:
        yield
    except SeparationError as error:
        text = str(error).replace(str(order.song), order.name).replace(f"{order.song.parent}{os.sep}", "")
        raise type(error)(text) from error
