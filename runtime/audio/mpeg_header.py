"""What the bytes of an MPEG audio file (MP3, MP2, MP1) say: headers of frames and tags of length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from runtime.audio.view import Window

RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}  # Hz; keys: version bits
VERSION_1 = 3  # bits of MPEG 1; the others are MPEG 2 and 2.5
KBITS = {  # by (MPEG 1, layer) and the header's index; 0: free format
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SIDE_INFORMATION = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}  # bytes of layer III


def _choice(values: Iterable[int]) -> bytes:
    """A regular expression for one of these bytes."""
    return b"[%s]" % b"".join(re.escape(bytes([value])) for value in values)


# Eleven bits of sync, then neither a reserved version, layer, bit rate nor sample rate.
HEADER = re.compile(
    b"\xff"
    + _choice(byte for byte in range(0xE0, 0x100) if byte >> 3 & 3 != 1 and byte >> 1 & 3 != 0)
    + _choice(byte for byte in range(0xF0) if byte >> 2 & 3 != 3)
)
PIECE = 1 << 19  # bytes searched at a time
MOST_FREE = 1 << 13  # bytes of a frame of free format, at most
DECODER_DELAY = 529  # samples that a layer III decoder adds in front; an encoder's delay comes on top


class Kind(NamedTuple):
    """What all frames of a stream have in common."""

    version: int
    layer: int
    sample_rate: int  # Hz
    mono: bool

    def __str__(self) -> str:
        return f"layer {self.layer}, {self.sample_rate} Hz, {'mono' if self.mono else 'stereo'}"

    @property
    def samples(self) -> int:
        """Of a frame."""
        if self.layer == 1:
            return 384
        return 1152 if self.layer == 2 or self.version == VERSION_1 else 576


class Frame(NamedTuple):
    kind: Kind
    length: int  # bytes; 0 in free format, where the header does not say
    padding: int  # bytes of it


class Length(NamedTuple):
    """What a Xing, Info or VBRI tag declares; 0 stands for what it does not."""

    frames: int  # of audio
    bytes: int  # from the tag's frame to the end of the last one
    delay: int | None  # samples that the encoder added in front; None where it does not say
    padding: int  # and behind


def headers(window: Window, first: int, last: int) -> Iterator[int]:
    """Where from `first` to before `last` something looks like the header of a frame."""
    for start in range(first, last, PIECE):
        for match in HEADER.finditer(window.at(start, min(PIECE, last - start) + 2)):
            yield start + match.start()


@lru_cache(maxsize=1024)
def parse(header: bytes) -> Frame | None:
    """What the four bytes say; None for what is no header."""
    if len(header) < 4 or HEADER.match(header) is None:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    kind = Kind(version, layer, RATES[version][header[2] >> 2 & 3], header[3] >> 6 == 3)
    padding = (header[2] >> 1 & 1) * (4 if layer == 1 else 1)
    bits = 1000 * KBITS[version == VERSION_1, layer][header[2] >> 4]
    if not bits:
        return Frame(kind, 0, padding)
    slots = kind.samples // 8 * bits // kind.sample_rate if layer > 1 else 12 * bits // kind.sample_rate * 4
    return Frame(kind, slots + padding, padding)


def declared_length(frame: bytes) -> Length | None:
    """What the tag in this frame of layer III says; None for a frame of audio."""
    found = parse(frame[:4])
    if found is None or found.kind.layer != 3:
        return None
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return Length(_number(frame[50:54]), _number(frame[46:50]), None, 0)
    at = 4 + SIDE_INFORMATION[found.kind.version == VERSION_1, found.kind.mono]
    if frame[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags = _number(frame[at + 4 : at + 8])
    at += 8
    fields = []
    for flag, size in ((1, 4), (2, 4), (4, 100), (8, 4)):  # frames, bytes, table of contents, quality
        fields.append(_number(frame[at : at + 4]) if flags & flag else 0)
        at += size if flags & flag else 0
    encoder, gap = frame[at : at + 9], _number(frame[at + 21 : at + 24])
    if len(frame) < at + 24 or not encoder[:1].strip(b"\0"):
        return Length(fields[0], fields[1], None, 0)
    return Length(fields[0], fields[1], gap >> 12, gap & 0xFFF)


def _number(four: bytes) -> int:
    return int.from_bytes(four, "big")
