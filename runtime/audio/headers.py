"""Where the samples of WAV, RF64, W64, AIFF, AIFC, CAF and AU files are, and what their headers say of it.

A program that writes to a pipe cannot know a size when it writes the header, and one that is killed does not come back
to correct it. libsndfile takes most such sizes at their word. `find_sound` tells sizes that are not known from true
ones and from those beyond the end of the file, and gives the bytes of the header that have to be changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from runtime.audio.tag_blocks import all_zeros, behind_tags
from runtime.audio.view import Window

Order = Literal["little", "big"]

MOST_CHUNKS = 10_000  # before the samples
MOST_BEHIND = 1 << 16  # bytes of chunks looked for behind samples without a size
CHUNKS_BEHIND = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact", b"smpl", b"ANNO", b"NAME", b"AUTH")
MORE_SOUND = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b"data", b"SSND")  # what begins so holds sound
# Sizes that programs write when they do not know: about 2^31 (sox, gstreamer, mpg123, arecord) and about 2^32 (ffmpeg);
# in 64 bits the same, about 2^63 and about 2^64. And 0, which needs a look at what follows.
NOT_KNOWN = {
    4: (range(0x7F000000, 0x80000100), range(0xFFFF0000, 1 << 32)),
    8: (range(0x7F000000, 0x80000100), range(0xFFFF0000, 1 << 32), range(0x7F << 56, 1 << 64)),
}
W64_NAME = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # how the GUIDs of all chunks but the first end
W64_FILE = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


@dataclass(frozen=True)
class Sound:
    """The samples of a file, in bytes."""

    start: int  # position of the first one
    declared: int | None  # by the header; None where the writer did not know
    held: int  # from `start` to the end of the file
    block: int  # of one sample frame, or of one block of a codec such as ADPCM
    changes: dict[int, bytes] = field(default_factory=dict)  # what makes the header true: position -> bytes
    behind: int = 0  # that follow the declared end and are neither chunks nor zeros
    broken: int = 0  # that the last sample frame lacks, or the last block
    end: int | None = None  # where libsndfile has to see the end of the file; None where it stops by itself
    codec: int = 1  # its number in WAV

    @property
    def lacks(self) -> int:
        """What the header declares and the file does not hold."""
        return 0 if self.declared is None else max(0, self.declared - self.held)


@dataclass(frozen=True)
class _Header:
    """A size in a header, and what else changes with it."""

    start: int  # of the samples
    block: int
    size: int  # as it is written
    size_at: int  # its position
    width: int = 4  # its bytes
    beside: int = 0  # bytes that it counts besides the samples
    whole_at: int | None = None  # position of the size of the whole file, of the same width
    not_whole: int = 8  # bytes that it does not count
    frames_at: int | None = None  # position of the number of sample frames, of the same width
    codec: int = 1
    order: Order = "little"


def find_sound(window: Window, size: int) -> Sound | None:
    """The samples of the file of `size` bytes in `window`; None for other formats and for broken headers."""
    head = window.at(0, 40)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        header = _wav(window)
    elif head[:16] == W64_FILE:
        header = _w64(window)
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        header = _aiff(window)
    elif head[:4] == b"caff":
        header = _caf(window)
    elif head[:4] in (b".snd", b"dns."):
        header = _au(head)
    else:
        return None
    return None if header is None or header.start > size else _sound(window, size, header)


def not_known(size: int, width: int) -> bool:
    """Whether a size of `width` bytes is one that stands for none."""
    return any(size in sizes for sizes in NOT_KNOWN[width])


def _sound(window: Window, size: int, header: _Header) -> Sound:
    start, block = header.start, max(1, header.block)
    held = size - start
    declared = max(0, header.size - header.beside)
    behind = _behind(window, start + declared, size, header)
    to_end = _without_chunks(window, start, size, header) - start
    changes = _changes(header, to_end - to_end % block, size)
    sound = Sound(start, declared, held, header.block, behind=behind, codec=header.codec)
    if (declared > held and not_known(header.size, header.width)) or (declared == 0 and behind):
        broken = 0 if _padded(window, start + to_end, to_end, block) else -to_end % block
        return replace(sound, declared=None, changes=changes, behind=0, broken=broken)
    if 0 < declared - held < block:
        return replace(sound, changes=changes, broken=-to_end % block)
    if declared > held and declared in (size, size - 8):  # the header counts itself
        return replace(sound, changes=changes)
    if declared <= held and (behind or window.at(0, 4) == b"riff"):  # libsndfile reads the padding of W64 as samples
        return replace(sound, end=start + declared)
    return sound


def _padded(window: Window, end: int, count: int, block: int) -> bool:
    """Whether the last of `count` bytes only makes their number even."""
    return count % 2 == 0 and (count - 1) % block == 0 and window.at(end - 1, 1) == b"\0"


def _changes(header: _Header, samples: int, size: int) -> dict[int, bytes]:
    """A header for so many bytes of samples in a file of `size` bytes."""
    values = {header.size_at: samples + header.beside}
    if header.whole_at is not None:
        values[header.whole_at] = size - header.not_whole
    if header.frames_at is not None:
        values[header.frames_at] = samples // max(1, header.block)
    most = (1 << 8 * header.width) - 1
    return {at: min(value, most).to_bytes(header.width, header.order) for at, value in values.items()}


def _behind(window: Window, position: int, size: int, header: _Header) -> int:
    """Bytes from `position`, the declared end of the samples, that are neither chunks nor zeros."""
    kind = window.at(0, 4)
    for at in dict.fromkeys((position, position + position % 2, -(-position // 8) * 8)):
        first = at
        while at < size:
            length = _w64_chunk(window, at) if kind == b"riff" else _chunk(window, at, kind, header.order)
            if length is None:
                break
            at += length
        if at >= size:
            return 0
        if at > first:
            position = at
            break
    return 0 if all_zeros(window, position, size) else size - position


def _without_chunks(window: Window, start: int, size: int, header: _Header) -> int:
    """Where the samples end that begin at `start` and have no size: before the chunks that end with the file."""
    first = max(start, size - MOST_BEHIND)
    tail = window.at(first, size - first)
    ends = [tail.rfind(name) for name in CHUNKS_BEHIND]
    for end in sorted({first + at for at in ends if at >= 0}):
        if not _behind(window, end, size, header):
            return end
    return size


def _is_name(four: bytes) -> bool:
    return len(four) == 4 and all(0x20 <= byte < 0x7F for byte in four)


def _chunk(window: Window, at: int, kind: bytes, order: Order) -> int | None:
    """Bytes of the chunk at this position with its header and padding; None if there is none."""
    wide = kind == b"caff"
    head = window.at(at, 12 if wide else 8)
    if len(head) < (12 if wide else 8) or not _is_name(head[:4]) or head[:4] in MORE_SOUND:
        return None
    length = int.from_bytes(head[4:], order)
    return 12 + length if wide else 8 + length + length % 2


def _w64_chunk(window: Window, at: int) -> int | None:
    head = window.at(at, 24)
    if len(head) < 24 or head[4:16] != W64_NAME:
        return None
    return -(-max(24, int.from_bytes(head[16:], "little")) // 8) * 8


def _wav(window: Window) -> _Header | None:
    order: Order = "big" if window.at(0, 4) == b"RIFX" else "little"
    chunks = _chunks(window, 12, order, b"data")
    if b"data" not in chunks or b"fmt " not in chunks:
        return None
    start = chunks[b"data"]
    size = int.from_bytes(window.at(start - 4, 4), order)
    codec = int.from_bytes(window.at(chunks[b"fmt "], 2), order)
    block = int.from_bytes(window.at(chunks[b"fmt "] + 12, 2), order)
    if size == 0xFFFFFFFF and b"ds64" in chunks:
        at = chunks[b"ds64"]
        size = int.from_bytes(window.at(at + 8, 8), "little")
        return _Header(start, block, size, at + 8, 8, whole_at=at, frames_at=at + 16, codec=codec)
    return _Header(start, block, size, start - 4, whole_at=4, order=order, codec=codec)


def _aiff(window: Window) -> _Header | None:
    chunks = _chunks(window, 12, "big", b"SSND")
    if b"SSND" not in chunks or b"COMM" not in chunks:
        return None
    start, comm = chunks[b"SSND"], window.at(chunks[b"COMM"], 22)
    channels, bits = int.from_bytes(comm[:2], "big"), int.from_bytes(comm[6:8], "big")
    packed = comm[18:22] == b"ima4"  # 64 samples in 34 bytes, and frames are counted in packets
    block = channels * (34 if packed else -(-bits // 8))
    beside = 8 + int.from_bytes(window.at(start, 4), "big")
    size = int.from_bytes(window.at(start - 4, 4), "big")
    frames_at = chunks[b"COMM"] + 2
    return _Header(start + beside, block, size, start - 4, 4, beside, whole_at=4, frames_at=frames_at, order="big")


def _chunks(window: Window, position: int, order: Order, last: bytes) -> dict[bytes, int]:
    """Where the contents of chunks begin, by name, as far as the chunk called `last`."""
    chunks: dict[bytes, int] = {}
    for name, at, _ in walk_chunks(window, position, order, last):
        chunks.setdefault(name, at + 8)
    return chunks


def walk_chunks(window: Window, position: int, order: Order, last: bytes = b"") -> Iterator[tuple[bytes, int, int]]:
    """Name, position and bytes, with header and padding, of the chunks from `position` on, up to one called `last`."""
    for _ in range(MOST_CHUNKS):
        head = window.at(position, 8)
        if len(head) < 8 or not _is_name(head[:4]):
            break
        length = 8 + int.from_bytes(head[4:], order)
        behind = position + length
        if length % 2 and (_begins(window, behind + 1, order, last) or not _begins(window, behind, order, last)):
            length += 1  # a byte pads it; some programs leave that out
        yield head[:4], position, length
        if head[:4] == last:
            break
        position += length


def _begins(window: Window, at: int, order: Order, last: bytes) -> bool:
    """Whether a chunk may begin here: it ends within the file, or is the one called `last`."""
    head = window.at(at, 8)
    length = int.from_bytes(head[4:], order)
    return _is_name(head[:4]) and (head[:4] == last or len(window.at(at + 7 + length, 1)) == 1)


def sound_pieces(window: Window, size: int) -> list[tuple[int, int]]:
    """The parts of a file of `size` bytes that libsndfile has to see, in bytes.

    All of it but for WAV and AIFF files with a tag in front, or chunks of an odd size that nothing pads.
    """
    start = behind_tags(window, 0)
    kind = window.at(start, 4)
    if kind not in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
        return [(0, size)]
    order: Order = "big" if kind in (b"RIFX", b"FORM") else "little"
    pieces, last = [(start, size)], b"SSND" if kind == b"FORM" else b"data"
    for name, at, length in walk_chunks(window, start + 12, order, last):
        if length % 2 and name != last:
            pieces[-1:] = [(pieces[-1][0], at), (at + length, size)]
    return pieces


def _w64(window: Window) -> _Header | None:
    position, block = 40, 0
    for _ in range(MOST_CHUNKS):
        length = _w64_chunk(window, position)
        if length is None:
            break
        name = window.at(position, 4)
        if name == b"fmt ":
            block = int.from_bytes(window.at(position + 36, 2), "little")
        if name == b"data":
            size = int.from_bytes(window.at(position + 16, 8), "little")
            return _Header(position + 24, block, size, position + 16, 8, 24, whole_at=16, not_whole=0)
        position += length
    return None


def _caf(window: Window) -> _Header | None:
    position, block = 8, 0
    for _ in range(MOST_CHUNKS):
        head = window.at(position, 12)
        if len(head) < 12 or not _is_name(head[:4]):
            break
        length = int.from_bytes(head[4:], "big")
        if head[:4] == b"desc":
            block = int.from_bytes(window.at(position + 28, 4), "big")
        if head[:4] == b"data":
            # Without a size of their own packets have many, and a table that says where they end.
            return _Header(position + 16, block, length, position + 4, 8, 4, order="big") if block else None
        position += 12 + length
    return None


def _au(head: bytes) -> _Header:
    order: Order = "big" if head[:4] == b".snd" else "little"
    start, size, encoding, channels = (int.from_bytes(head[at : at + 4], order) for at in (4, 8, 12, 20))
    block = channels * {3: 2, 4: 3, 5: 4, 6: 4, 7: 8}.get(encoding, 1)
    return _Header(start, block, size, 8, order=order)
