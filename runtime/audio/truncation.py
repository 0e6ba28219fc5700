"""MP3 and Ogg files that end too early: libsndfile takes what is there for the whole song."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runtime.audio.view import Window
from runtime.errors import AudioError

MPEG_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}  # Hz; keys: version bits
LAYER_3 = {  # kbit/s by the header's index, MPEG 1 and MPEG 2 or 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
WINDOW = 1 << 20  # bytes read at a time
OGG_TAIL = 1 << 17  # bytes; an Ogg page has at most 65,307
OGG_LAST_PAGE = 4  # of a page's flags
MP3_LEAD = 1 << 12  # bytes that may lie between a tag and the first frame: padding that the tag does not count
AFTER_MP3 = (b"TAG", b"APETAGEX", b"LYRICS", b"ID3", b"3DI")  # how tags behind the last frame begin


def check_whole(path: Path, descriptor: int) -> Mp3Length | None:
    """What an MP3 file's frames add up to; None for other files.

    Raises AudioError if the file is an MP3 or Ogg file of which the end is missing.
    """
    length, reason = None, None
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        start = file.read(10)
        size = file.seek(0, os.SEEK_END)
        if start[:3] == b"ID3" or _frame(start) is not None:
            first = 10 + _syncsafe(start[6:10]) if start[:3] == b"ID3" else 0
            length, reason = walk_mp3(Window(file), first, size)
        file.seek(0)
    if reason is not None:
        raise AudioError(f"{path}: is cut off: {reason}: get the whole file")
    return length


@dataclass(frozen=True)
class Mp3Length:
    """How long the frames of an MP3 file are."""

    samples: int  # of the frames up to the first thing that is none
    declared: bool  # the file has a Xing or Info tag that says, too
    to_end: bool  # nothing but tags follows those frames


def walk_mp3(window: Window, position: int, size: int) -> tuple[Mp3Length, str | None]:
    """Walk from frame to frame of an MP3 file whose first one is at `position`: its length, and what its end lacks."""
    position = _first_frame(window, position)
    header = window.at(position, 256)
    declared = _declared_bytes(header)
    if declared is not None and size - position < 0.99 * declared:
        return Mp3Length(0, True, False), f"declares {declared} bytes of audio, holds {size - position}"
    per_frame = 1152 if len(header) > 1 and header[1] >> 3 & 3 == 3 else 576
    frames = 0
    while (length := _frame(window.at(position, 4))) is not None:
        if position + length > size:
            return Mp3Length(0, False, False), f"its last frame has {size - position} bytes of {length}"
        position += length
        frames += 1
    rest = window.at(position, 8)
    return Mp3Length(
        frames * per_frame, declared is not None, rest.startswith(AFTER_MP3) or not rest.strip(b"\0")
    ), None


def _first_frame(window: Window, position: int) -> int:
    """Where frames begin at or behind `position`: three in a row, for two bytes alone look like a frame by chance."""
    for start in range(position, position + MP3_LEAD):
        behind = start
        for _ in range(3):
            length = _frame(window.at(behind, 4))
            if length is None:
                break
            behind += length
        else:
            return start
    return position


def _frame(header: bytes) -> int | None:
    """Bytes of the MPEG layer III frame with this header; None for what is none or does not say."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, index, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or rate == 3 or index in (0, 15):
        return None
    bits = LAYER_3[version == 3][index] * 1000 * (144 if version == 3 else 72)
    return bits // MPEG_RATES[version][rate] + (header[2] >> 1 & 1)


def _declared_bytes(frame: bytes) -> int | None:
    """Bytes from the first frame on, as the Xing or Info tag in it declares."""
    if _frame(frame[:4]) is None:
        return None
    first, mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    tag = 4 + ((17 if mono else 32) if first else (9 if mono else 17))
    if frame[tag : tag + 4] not in (b"Xing", b"Info") or len(frame) < tag + 16:
        return None
    flags = int.from_bytes(frame[tag + 4 : tag + 8], "big")
    if not flags & 2:
        return None
    at = tag + 8 + (4 if flags & 1 else 0)
    return int.from_bytes(frame[at : at + 4], "big")


def _syncsafe(four: bytes) -> int:
    """A number of 7 bits a byte, as ID3 writes them."""
    value = 0
    for byte in four:
        value = value << 7 | byte & 0x7F
    return value
