"""Containers that declare the size of the whole file, and old ones of which libsndfile reads headers as samples."""

from __future__ import annotations

from typing import Literal

from runtime.audio.headers import not_known
from runtime.audio.view import Window

# How a file begins -> its size in its header: position, width, byte order, bytes that it does not count.
SIZES: dict[bytes, tuple[int, int, Literal["little", "big"], int]] = {
    b"DSD ": (12, 8, "little", 0),  # DSF
    b"FRM8": (4, 8, "big", 12),  # DSDIFF
    b"FORM": (4, 4, "big", 8),  # MAUD, 8SVX
    b"MMMD": (4, 4, "big", 8),  # SMAF
}
# GUIDs of the header of ASF (WMA, WMV) and of the file properties in it.
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
VOC = b"Creative Voice File\x1a"
VOC_16_BITS = 9  # a type of block


def declared_size(window: Window) -> int:
    """The bytes that a file has by its header, other than of WAV, AIFF and what `find_sound` knows; 0: not known."""
    head = window.at(0, 1 << 12)
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"XWMA"):
        return _riff_size(window)
    if head.startswith(ASF):
        at = head.find(ASF_FILE)
        live = at < 0 or head[at + 88 : at + 89] == b"\1"  # broadcast: the fields are not valid
        return 0 if live else int.from_bytes(head[at + 40 : at + 48], "little")
    if head.startswith(VOC):
        return _voc_end(head)
    if head[:4] in SIZES and head[8:12] not in (b"AIFF", b"AIFC"):
        at, width, order, besides = SIZES[head[:4]]
        size = int.from_bytes(head[at : at + width], order)
        return 0 if not size or not_known(size, width) else size + besides
    return 0


def misread(window: Window, size: int) -> str | None:
    """What the file of `size` bytes is, if libsndfile takes headers in it for samples."""
    head = window.at(0, 1 << 12)
    if head.startswith(VOC):
        slip = 8 if head[_voc_block(head)] == VOC_16_BITS else 0  # sox counts so many bytes too few
        if _voc_end(head) + slip < size - 1:
            return "a VOC file of more than one block"
    if head[:4] == b"FORM" and head[8:12] == b"8SVX" and b"CHAN" in head:
        return "a stereo 8SVX file"
    return None


def _riff_size(window: Window) -> int:
    """A long AVI file has several chunks, each with a size."""
    at = 0
    while window.at(at, 4) == b"RIFF" and window.at(at + 8, 4) in (b"AVI ", b"AVIX", b"XWMA"):
        size = int.from_bytes(window.at(at + 4, 4), "little")
        if not size or not_known(size, 4):
            return 0
        at += 8 + size
    return at


def _voc_block(head: bytes) -> int:
    return min(int.from_bytes(head[20:22], "little"), len(head) - 1)


def _voc_end(head: bytes) -> int:
    """Where the first block of a VOC file ends."""
    at = _voc_block(head)
    return at + 4 + int.from_bytes(head[at + 1 : at + 4], "little")
