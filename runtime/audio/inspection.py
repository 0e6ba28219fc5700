"""What the structure of a file says before libsndfile reads it: where its sound is, how long it is, what it lacks."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

from runtime.audio.chunk_tags import chunk_tags
from runtime.audio.flac import flac_header
from runtime.audio.headers import find_sound, not_known
from runtime.audio.mpeg import MixedError, Mpeg, read_mpeg
from runtime.audio.ogg import DamagedError, Link, ogg_links
from runtime.audio.speakers import WAV_ORDER, vorbis_mask
from runtime.audio.tags import Tags
from runtime.audio.view import Window
from runtime.errors import AudioError

# GUIDs of the header and of the file properties in it.
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
MOST_FLAC_BITS = 24  # that libsndfile decodes
REPAIR_OGG = "get the complete file; ffmpeg -i FILE -c copy NEW.ogg keeps what can be read"


class UnreadableError(Exception):
    """This reader cannot read the file; another one may."""


@dataclass
class Part:
    """A part of a file that libsndfile reads at a time: all of it, or one link of an Ogg chain."""

    start: int  # bytes
    end: int
    changes: dict[int, bytes] = field(default_factory=dict)  # of the bytes: position -> bytes
    promised: bool = True  # the length that libsndfile finds is declared by the file, and less means that it lacks some
    samples: int | None = None  # declared, where libsndfile is not to know
    order: tuple[int, ...] | None = None  # of the channels, to have them as in WAV
    channel_mask: int = 0  # where libsndfile does not tell
    tags: Tags = field(default_factory=dict)  # that libsndfile does not read
    mpeg: Mpeg | None = None  # its frames, to read nothing else


@dataclass
class Inspection:
    parts: list[Part]
    notes: list[str] = field(default_factory=list)


def inspect(path: Path) -> Inspection:
    """The file at `path`. Raises AudioError if its end is missing, UnreadableError if libsndfile cannot read it."""
    try:
        with path.open("rb", buffering=0) as file:
            return _inspect(path, file, file.seek(0, os.SEEK_END))
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from error


def _inspect(path: Path, file: io.FileIO, size: int) -> Inspection:
    window = Window(file)
    if window.at(0, 4) == b"OggS":
        return _ogg(path, window, size)
    flac = flac_header(window, size)
    if flac is not None:
        if flac.bits > MOST_FLAC_BITS:
            raise UnreadableError(f"FLAC of {flac.bits} bits, of which it reads at most {MOST_FLAC_BITS}")
        # Without a declared length libsndfile reads to the end, whatever the header says.
        return Inspection([Part(0, flac.end, flac.changes, samples=flac.samples, channel_mask=flac.channel_mask)])
    _check_container(path, window, size)
    sound = find_sound(window, size)
    if sound is None:
        return _mpeg(path, window, size)
    if sound.lacks and not sound.changes:
        raise AudioError(
            f"{path}: the file is incomplete: its header declares {sound.declared} bytes of sound, and it holds "
            f"{sound.held}: get the complete file"
        )
    notes = []
    if sound.lacks:
        notes.append(f"its last samples are not whole ({_bytes(sound.lacks)} missing) and are left out")
    if sound.behind:
        notes.append(
            f"{_bytes(sound.behind)} follow the end of the sound that its header declares ({sound.declared} bytes) and "
            "are not read: if they are sound, correct the header first (sox --ignore-length FILE NEW.wav)"
        )
    end = sound.start + sound.declared if sound.behind and sound.declared is not None else size
    return Inspection([Part(0, end, sound.changes, tags=chunk_tags(window, size))], notes)


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _check_container(path: Path, window: Window, size: int) -> None:
    """AVI and ASF (WMA, WMV) files declare their size, and old formats hold what libsndfile reads wrongly."""
    head = window.at(0, 1 << 12)
    declared = 0
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        declared = 8 + int.from_bytes(head[4:8], "little")
        declared = 0 if not_known(declared - 8, 4) else declared
    elif head.startswith(ASF):
        at = head.find(ASF_FILE)
        live = at < 0 or head[at + 88 : at + 89] == b"\1"  # broadcast: the fields are not valid
        declared = 0 if live else int.from_bytes(head[at + 40 : at + 48], "little")
    if declared > size:
        raise AudioError(
            f"{path}: the file is incomplete: its header declares {declared} bytes, and it has {size}: get the "
            "complete file"
        )
    if head.startswith(b"Creative Voice File\x1a"):
        at = int.from_bytes(head[20:22], "little")
        if at + 4 + int.from_bytes(head[at + 1 : at + 4], "little") < size - 1:
            raise UnreadableError("a VOC file of more than one block")
    if head[:4] == b"FORM" and head[8:12] == b"8SVX" and b"CHAN" in head:
        raise UnreadableError("a stereo 8SVX file")


def _mpeg(path: Path, window: Window, size: int) -> Inspection:
    try:
        mpeg = read_mpeg(path, window, size)
    except MixedError as error:
        raise UnreadableError(str(error)) from error
    return Inspection([Part(0, size, mpeg=mpeg)], [] if mpeg is None else mpeg.notes)


def _ogg(path: Path, window: Window, size: int) -> Inspection:
    try:
        links, others = ogg_links(window, size)
    except DamagedError as error:
        raise AudioError(f"{path}: the file is incomplete or damaged: {error}: {REPAIR_OGG}") from error
    if not links:
        raise UnreadableError("an Ogg file without the beginning of a stream")
    if any(len(link.codecs) > 1 or "other" in link.codecs.values() for link in links):
        if len(links) > 1:
            raise AudioError(f"{path}: a chain of {len(links)} Ogg files with video or several streams: separate them")
        raise UnreadableError("an Ogg file with more than one stream of sound")
    notes = []
    if links[-1].open:
        notes.append("its last page is not marked as the last: there may be more in the complete file")
    lost = sum(link.lost for link in links)
    if lost:
        notes.append(f"pages are missing at {lost} places: there the sound jumps")
    if others:
        notes.append(f"{others} bytes in it are no Ogg pages and are left out")
    parts = [Part(link.start, link.end, promised=False, order=_order(link), channel_mask=_mask(link)) for link in links]
    return Inspection(parts, notes)


def _order(link: Link) -> tuple[int, ...] | None:
    return WAV_ORDER.get(link.channels) if link.ordered else None


def _mask(link: Link) -> int:
    return vorbis_mask(link.channels) if link.ordered else 0
