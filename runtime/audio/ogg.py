"""The streams of an Ogg file, found page by page: chains of them, damage, and ends that are missing.

libsndfile reads the first stream of a chain and passes over damaged pages; what is found here decides what it is given
and what is refused. Format: RFC 3533; headers of Vorbis, Opus and FLAC: Vorbis I specification 4.2.2, RFC 7845 5.1, RFC
9639 10.1.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from runtime.audio.tag_blocks import all_zeros, before_tags
from runtime.audio.view import Window

HEADER = 27  # bytes of a page before its table of segments
MOST_PAGE = HEADER + 255 + 255 * 255
FIRST, LAST = 2, 4  # flags of a stream's pages
BEFORE_FLAC = 9  # bytes of a stream's first packet, behind which a FLAC file follows
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the bits of a byte in the other order
PLAYED = ("vorbis", "opus", "flac")  # codecs that libsndfile reads


class DamagedError(Exception):
    """What is wrong with an Ogg file, in words."""


@dataclass
class Stream:
    """One stream of an Ogg file."""

    codec: str  # "other" for pictures and what is not known
    channels: int = 0
    ordered: bool = False  # its channels stand for speakers, in the order of Vorbis
    # The parts of the file that libsndfile reads, in bytes: its pages; of a FLAC stream, the FLAC file in them.
    pieces: list[tuple[int, int]] = field(default_factory=list)
    ended: bool = False  # its last page has come
    lost: int = 0  # pages that are missing in the middle
    following: int = 0  # number of the next page

    def add(self, start: int, end: int) -> None:
        if self.pieces and self.pieces[-1][1] == start:
            start = self.pieces.pop()[0]
        self.pieces.append((start, end))


Link = dict[int, Stream]  # one part of a chain: the streams that begin together, by serial number


def ogg_links(window: Window, position: int, size: int) -> tuple[list[Link], int]:
    """The parts of the Ogg file from `position` to `size` in `window`, and how many bytes of other things are in it.

    Raises DamagedError for a page that is broken or not whole.
    """
    links: list[Link] = []
    others, heads = 0, False
    size = before_tags(window, size)
    while position < size:
        page = window.at(position, MOST_PAGE)
        if not page.startswith(b"OggS"):
            next_page = _next_page(window, position, size)
            if next_page is None:
                others += 0 if all_zeros(window, position, size) else size - position
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
        content = HEADER + page[26]
        if flags & FIRST:
            if not heads:
                links.append({})
            links[-1][serial] = _begin(page[content:length])
        heads = bool(flags & FIRST)
        if links and serial not in links[-1]:
            _merge(links, serial)
        if links and serial in links[-1]:
            stream = links[-1][serial]
            # Who joins a broadcast gets the headers first, then pages from the middle: page 2 may have any number.
            stream.lost += 3 < stream.following < number
            stream.following = number + 1
            stream.ended |= bool(flags & LAST)
            if stream.codec == "flac":
                stream.add(position + content + (BEFORE_FLAC if flags & FIRST else 0), position + length)
            elif stream.codec in PLAYED:
                stream.add(position, position + length)
        position += length
    return links, others


def _merge(links: list[Link], serial: int) -> None:
    """Make one link of those since `serial` began, if its pages still come: others began late, and it is no chain."""
    for k, link in enumerate(links[:-1]):
        if serial in link and not link[serial].ended:
            for other in links[k + 1 :]:
                link.update(other)
            del links[k + 1 :]
            return


def _begin(packet: bytes) -> Stream:
    """The stream that begins with this packet."""
    if packet.startswith(b"\x01vorbis") and len(packet) > 11:
        return Stream("vorbis", packet[11], ordered=True)
    if packet.startswith(b"OpusHead") and len(packet) > 18:
        return Stream("opus", packet[9], ordered=packet[18] == 1)
    names = {b"\x7fFLAC": "flac", b"Speex   ": "speex", b"fishead\0": "skeleton"}
    return Stream(next((name for start, name in names.items() if packet.startswith(start)), "other"))


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
