"""Words in chunks of WAV, RF64 and AIFF files that libsndfile passes over: ID3 tags, and the track number of ffmpeg."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.audio.headers import Order, Sound, walk_chunks
from runtime.audio.tag_blocks import syncsafe
from runtime.audio.tags import Tags, kept
from runtime.audio.view import Window

CHUNK_HEADER = 8  # bytes
LITTLE: Order = "little"
BIG: Order = "big"
MOST_BYTES = 1 << 20  # of a chunk of words; one with pictures may be longer, and its words come first
INFO = {b"IPRT": "tracknumber"}
# Names of ID3v2.2, and of 2.3 and 2.4.
FRAMES = {
    **{b"TT2": "title", b"TP1": "artist", b"TAL": "album", b"TRK": "tracknumber", b"TYE": "date", b"TCO": "genre"},
    **{b"TIT2": "title", b"TPE1": "artist", b"TALB": "album", b"TRCK": "tracknumber", b"TYER": "date", b"TDRC": "date"},
    **{b"TCON": "genre", b"TCOP": "copyright", b"TCR": "copyright", b"COMM": "comment", b"COM": "comment"},
}
ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
ID3_HEADER = 10  # bytes


def chunk_tags(window: Window, sound: Sound) -> Tags:
    """The words in chunks before and behind the samples of a file; none for formats without such chunks."""
    found: dict[str, str] = {}
    for name, position, length in _chunks(window, sound):
        content = position + CHUNK_HEADER
        if name in (b"id3 ", b"ID3 "):
            found |= _id3(window.at(content, min(length - CHUNK_HEADER, MOST_BYTES)))
        elif name == b"LIST" and window.at(content, 4) == b"INFO":
            found = {**_info(window, content + 4, position + length), **found}
    return kept(found)


def _chunks(window: Window, sound: Sound) -> Iterator[tuple[bytes, int, int]]:
    """As `walk_chunks`, of the whole file."""
    head = window.at(0, 12)
    if head[:4] == b"FORM":
        order, samples = BIG, b"SSND"
    elif head[:4] in (b"RIFF", b"RF64", b"BW64"):
        order, samples = LITTLE, b"data"
    else:
        return
    yield from walk_chunks(window, 12, order, samples)
    if sound.declared is not None:
        end = sound.start + sound.declared
        yield from walk_chunks(window, end + end % 2, order)


def _info(window: Window, position: int, end: int) -> dict[str, str]:
    words = {}
    while position + 8 <= end:
        head = window.at(position, 8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] in INFO:
            text = window.at(position + 8, min(length, MOST_BYTES)).split(b"\0")[0]
            words[INFO[head[:4]]] = text.decode(errors="replace")
        position += 8 + length + length % 2
    return words


def _id3(tag: bytes) -> dict[str, str]:
    """The words of an ID3v2 tag; frames that are compressed or encrypted are left out."""
    if tag[:3] != b"ID3" or len(tag) < ID3_HEADER:
        return {}
    version, flags = tag[3], tag[5]
    body = tag[ID3_HEADER : ID3_HEADER + syncsafe(tag[6:10])]
    if flags & 0x80 and version < 4:
        body = body.replace(b"\xff\0", b"\xff")
    position = 0
    if flags & 0x40 and version > 2:  # an extended header
        position = syncsafe(body[:4]) if version > 3 else 4 + int.from_bytes(body[:4], "big")
    id_size, header = (3, 6) if version == 2 else (4, 10)
    words: dict[str, str] = {}
    while position + header < len(body) and body[position]:
        name, sizes = body[position : position + id_size], body[position + id_size : position + 2 * id_size]
        length = syncsafe(sizes) if version > 3 else int.from_bytes(sizes, "big")
        content = body[position + header : position + header + length]
        plain = version == 2 or not body[position + 9]
        if name in FRAMES and plain and content and (text := _text(name, content)):
            words.setdefault(FRAMES[name], text)
        position += header + length
    return words


def _text(name: bytes, content: bytes) -> str:
    """The first text of a frame."""
    encoding = ENCODINGS[content[0]] if content[0] < len(ENCODINGS) else "latin-1"
    if name[:3] != b"COM":
        return content[1:].decode(encoding, errors="replace").split("\0")[0].strip()
    described = content[4:].decode(encoding, errors="replace").split("\0")  # behind a language
    return "" if len(described) < 2 or described[0].strip("\ufeff") else described[1].lstrip("\ufeff").strip()
