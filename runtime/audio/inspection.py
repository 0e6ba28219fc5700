"""What the structure of a file says before libsndfile reads it: where its sound is, how long it is, what it lacks."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

from runtime.audio.chunk_tags import chunk_tags
from runtime.audio.containers import declared_size, misread
from runtime.audio.flac import flac_header
from runtime.audio.headers import Sound, find_sound, sound_pieces
from runtime.audio.mpeg import MixedError, Mpeg, read_mpeg
from runtime.audio.ogg import PLAYED, DamagedError, Stream, ogg_links
from runtime.audio.speakers import WAV_ORDER, vorbis_mask
from runtime.audio.tag_blocks import behind_tags
from runtime.audio.tags import Tags
from runtime.audio.view import View, Window
from runtime.errors import AudioError

SLIP = 8  # bytes that programs miscount in the size of a file
MPEG_IN_WAV = (0x50, 0x55)  # codec numbers
DTS = (b"\xfe\x7f\x01\x80", b"\xff\x1f\x00\xe8")  # how it begins, in samples of 16 bits and of 14
MOST_ZEROS = 1 << 16  # bytes in front of it
MOST_FLAC_BITS = 24  # that libsndfile decodes
REPAIR_OGG = "get the complete file; ffmpeg -i FILE -c copy NEW.ogg keeps what can be read"


class UnreadableError(Exception):
    """This reader cannot read the file; another one may."""


@dataclass
class Part:
    """A part of a file that libsndfile reads at a time: all of it, or one link of an Ogg chain."""

    pieces: list[tuple[int, int]]  # of the file, in bytes, as if nothing were between them
    changes: dict[int, bytes] = field(default_factory=dict)  # of these bytes: position -> bytes
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


def _inspect(path: Path, file: io.RawIOBase, size: int) -> Inspection:
    window = Window(file)
    start = behind_tags(window, 0)
    if window.at(start, 4) == b"OggS":
        return _ogg(path, file, window, start, size)
    flac = _flac(window, [(0, size)])
    if flac is not None:
        return Inspection([flac])
    declared = declared_size(window)
    if declared > size + SLIP:
        raise AudioError(
            f"{path}: the file is incomplete: its header declares {declared} bytes, and it has {size}: get the "
            "complete file"
        )
    reason = misread(window, size)
    if reason is not None:
        raise UnreadableError(reason)
    pieces = sound_pieces(window, size)
    if pieces != [(0, size)]:
        view = View(file, pieces)
        window, size = Window(view), view.rest
    sound = find_sound(window, size)
    if sound is None:
        return _mpeg(path, window, size)
    if sound.lacks and not sound.changes:
        raise AudioError(
            f"{path}: the file is incomplete: its header declares {sound.declared} bytes of sound, and it holds "
            f"{sound.held}: get the complete file"
        )
    if window.at(0, 4) == b"RIFF" and (sound.codec in MPEG_IN_WAV or _is_dts(window, sound)):
        raise UnreadableError("a WAV file with MPEG audio or DTS in it")
    end = size if sound.end is None else sound.end
    return Inspection([Part(_first(pieces, end), sound.changes, tags=chunk_tags(window, sound))], _notes(sound))


def _flac(window: Window, pieces: list[tuple[int, int]]) -> Part | None:
    """The FLAC file in `window`, which shows these pieces of a file; None for other files."""
    header = flac_header(window, sum(behind - first for first, behind in pieces))
    if header is None:
        return None
    if header.bits > MOST_FLAC_BITS:
        raise UnreadableError(f"FLAC of {header.bits} bits, of which it reads at most {MOST_FLAC_BITS}")
    # Without a declared length libsndfile reads to the end, whatever the header says.
    mask = header.channel_mask
    return Part(_first(pieces, header.end), header.changes, samples=header.samples, channel_mask=mask)


def _is_dts(window: Window, sound: Sound) -> bool:
    """Whether the samples are DTS frames, as on a CD: read as they are, they are noise."""
    return window.at(sound.start, MOST_ZEROS).lstrip(b"\0").startswith(DTS)


def _first(pieces: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """The pieces of the first `count` bytes."""
    kept = []
    for first, behind in pieces:
        kept.append((first, min(behind, first + count)))
        count -= kept[-1][1] - first
    return [(first, behind) for first, behind in kept if first < behind]


def _notes(sound: Sound) -> list[str]:
    notes = []
    if sound.broken:
        notes.append(f"its last samples are not whole ({_bytes(sound.broken)} missing) and are left out")
    elif sound.lacks:
        notes.append(f"its header counts itself as sound ({_bytes(sound.lacks)}): all samples that there are were read")
    if sound.behind:
        notes.append(
            f"{_bytes(sound.behind)} follow the end of the sound that its header declares ({sound.declared} bytes) and "
            "are not read: if they are sound, correct the header first (sox --ignore-length FILE NEW.wav)"
        )
    return notes


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _mpeg(path: Path, window: Window, size: int) -> Inspection:
    try:
        mpeg = read_mpeg(path, window, size)
    except MixedError as error:
        raise UnreadableError(str(error)) from error
    return Inspection([Part([(0, size)], mpeg=mpeg)], [] if mpeg is None else mpeg.notes)


def _ogg(path: Path, file: io.RawIOBase, window: Window, start: int, size: int) -> Inspection:
    try:
        links, others = ogg_links(window, start, size)
    except DamagedError as error:
        raise AudioError(f"{path}: the file is incomplete or damaged: {error}: {REPAIR_OGG}") from error
    if not links:
        raise UnreadableError("an Ogg file without the beginning of a stream")
    sounds = [[stream for stream in link.values() if stream.codec in PLAYED] for link in links]
    if not all(sounds) or any(stream.codec not in (*PLAYED, "skeleton") for link in links for stream in link.values()):
        if len(links) > 1:
            raise AudioError(
                f"{path}: a chain of {len(links)} Ogg files with pictures or codecs that libsndfile does not read: "
                "separate them first, for example with oggz-chop or ffmpeg"
            )
        raise UnreadableError("an Ogg file with pictures or a codec that it does not read")
    notes, streams = [], [streams[0] for streams in sounds]
    if any(len(streams) > 1 for streams in sounds):
        notes.append(f"it has {max(map(len, sounds))} streams of sound at a time: the first is separated")
    if not streams[-1].ended:
        notes.append("its last page is not marked as the last: there may be more in the complete file")
    lost = sum(stream.lost for stream in streams)
    if lost:
        notes.append(f"pages are missing at {lost} place{'s' * (lost > 1)}: there the sound jumps")
    if others:
        notes.append(f"{others} bytes in it are no Ogg pages and are left out")
    return Inspection([_stream(file, stream) for stream in streams], notes)


def _stream(file: io.RawIOBase, stream: Stream) -> Part:
    flac = _flac(Window(View(file, stream.pieces)), stream.pieces) if stream.codec == "flac" else None
    if flac is not None:
        return flac
    order = WAV_ORDER.get(stream.channels) if stream.ordered else None
    mask = vorbis_mask(stream.channels) if stream.ordered else 0
    return Part(stream.pieces, promised=False, order=order, channel_mask=mask)
