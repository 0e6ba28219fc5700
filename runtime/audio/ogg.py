"""The streams of an Ogg file, found page by page: chains of them, damage, and ends that are missing.

libsndfile reads the first stream of a chain and passes over damaged pages; what is found here decides what it is given
and what is refused. Format: RFC 3533; headers of Vorbis and Opus: Vorbis I specification 4.2.2, RFC 7845 5.1.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from runtime.audio.view import Window

HEADER = 27  # bytes of a page before its table of segments
MOST_PAGE = HEADER + 255 + 255 * 255
FIRST, LAST = 2, 4  # flags of a stream's pages
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the bits of a byte in the other order
AFTER = (b"TAG", b"APETAGEX", b"ID3")  # tags of other formats that programs put behind any file


class DamagedError(Exception):
    """What is wrong with an Ogg file, in words."""


@dataclass
class Link:
    """One part of a chain: the streams that begin together."""

    start: int  # bytes
    end: int
    codecs: dict[int, str] = field(default_factory=dict)  # by serial number
    channels: int = 0  # of its sound
    ordered: bool = False  # its channels stand for speakers, in the order of Vorbis
    open: set[int] = field(default_factory=set)  # serial numbers of streams whose last page has not come
    lost: int = 0  # pages that are missing in the middle


def ogg_links(window: Window, size: int) -> tuple[list[Link], int]:
    """The parts of the Ogg file of `size` bytes in `window`, and how many bytes of other things are among them.

    Raises DamagedError for a page that is broken or not whole.
    """
    links: list[Link] = []
    numbers: dict[int, int] = {}  # of the next page, by serial number
    position, others, heads = 0, 0, False
    while position < size:
        page = window.at(position, MOST_PAGE)
        if not page.startswith(b"OggS"):
            next_page = _next_page(window, position, size)
            if next_page is None:
                others += 0 if _harmless(page) else size - position
                break
            others += next_page - position
            position = next_page
            continue
        length = _length(page)
        if length is None or position + length > size:
            raise DamagedError("its last page is not whole")
        flags, serial, number = page[5], int.from_bytes(page[14:18], "little"), int.from_bytes(page[18:22], "little")
        if _checksum(page[:length]) != int.from_bytes(page[22:26], "little"):
            raise DamagedError(f"the page at byte {position} is damaged")
        if flags & FIRST:
            if not heads:
                links.append(Link(position, position))
                numbers.clear()
            _begin(links[-1], serial, page[HEADER + page[26] : length])
        heads = bool(flags & FIRST)
        if links and serial in links[-1].codecs:
            link = links[-1]
            # Who joins a broadcast gets the headers first, then pages from the middle: page 2 may have any number.
            link.lost += serial in numbers and numbers[serial] > 3 and number > numbers[serial]
            numbers[serial] = number + 1
            link.end = position + length
            if flags & LAST:
                link.open.discard(serial)
        position += length
    return links, others


def _begin(link: Link, serial: int, packet: bytes) -> None:
    """A stream of `link` begins with this packet."""
    codec = "other"
    if packet.startswith(b"\x01vorbis") and len(packet) > 11:
        codec, link.channels, link.ordered = "vorbis", packet[11], True
    elif packet.startswith(b"OpusHead") and len(packet) > 18:
        codec, link.channels, link.ordered = "opus", packet[9], packet[18] == 1
    elif packet.startswith((b"\x7fFLAC", b"Speex   ")):
        codec = "sound"
    link.codecs[serial] = codec
    link.open.add(serial)


def _length(page: bytes) -> int | None:
    """Bytes of a page, by the table in its header."""
    if len(page) < HEADER or len(page) < HEADER + page[26]:
        return None
    return HEADER + page[26] + sum(page[HEADER : HEADER + page[26]])


def _checksum(page: bytes) -> int:
    """Ogg's CRC: zlib's polynomial, most significant bit first, without inversions."""
    reflected = (page[:22] + bytes(4) + page[26:]).translate(REVERSED)
    crc = zlib.crc32(reflected, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(REVERSED), "big")


def _next_page(window: Window, position: int, size: int) -> int | None:
    """Where the next page begins behind `position`."""
    while position < size:
        found = window.at(position, Window.SIZE).find(b"OggS")
        if found >= 0:
            return position + found
        position += Window.SIZE - 3
    return None


def _harmless(end: bytes) -> bool:
    return end.startswith(AFTER) or not end.strip(b"\0")
