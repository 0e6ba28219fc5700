"""Changes to a file that no program makes: `python edits.py FILE NAME ARGUMENT...`; in files.txt, `edit NAME ...`."""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

EDITS: dict[str, Callable[..., bytes]] = {}


def edit(function: Callable[..., bytes]) -> Callable[..., bytes]:
    EDITS[function.__name__] = function
    return function


def chunk(name: bytes, content: bytes, order: str = "little", pad: bool = True, width: int = 4) -> bytes:
    return name + len(content).to_bytes(width, order) + content + bytes(len(content) % 2 if pad else 0)


ID3 = b"ID3\x04\0\0\0\0\x01\x00" + b"TIT2\0\0\0\x05\0\0\x03song" + bytes(128 - 15)
THINGS = {
    "LIST": chunk(b"LIST", b"INFOISFT" + (5).to_bytes(4, "little") + b"Test\0\0"),
    "BEXT": chunk(b"bext", b"scene 1".ljust(602, b"\0") + b"A=PCM,F=48000,W=24,M=stereo\r\n"),
    "IXML": chunk(b"iXML", b"<?xml version='1.0'?><BWFXML><SCENE>1</SCENE></BWFXML>\n "),
    "CUE": chunk(b"cue ", bytes(4)) + chunk(b"smpl", bytes(36)),
    "FACT": chunk(b"fact", bytes(4)),
    "JUNK": chunk(b"JUNK", bytes(28)) + chunk(b"PAD ", bytes(3001)),
    "ODD": chunk(b"note", b"odd"),
    "BARE": chunk(b"note", b"odd", pad=False),  # an odd size, and no byte that pads it
    "MARK": chunk(b"MARK", b"\0\1\0\1\0\0\0\5\3abc", "big") + chunk(b"NAME", b"odd", "big"),
    "NAME": chunk(b"NAME", b"odd", "big", pad=False),
    "FREE": chunk(b"free", bytes(5000), "big", width=8),
    "ID3CHUNK": chunk(b"id3 ", ID3),
    "ID3": ID3,
    "ID3FOOTER": ID3[:5] + b"\x10" + ID3[6:] + b"3DI" + ID3[3:5] + b"\x10" + ID3[6:10],
    "ID3V1": b"TAG" + b"song".ljust(125, b"\0"),
    "APE": b"APETAGEX" + (2000).to_bytes(4, "little") + (32).to_bytes(4, "little") + bytes(16),
    "LYRICS": b"LYRICSBEGINLYR00004word000023LYRICS200",
    "BYTES": bytes(range(1, 251)) * 20,
    "ZEROS": bytes(5000),
}


def things(names: str) -> bytes:
    return b"".join(THINGS[name] for name in names.split("+"))


@edit
def keep(file: bytes, share: str) -> bytes:
    return file[: int(len(file) * float(share))]


@edit
def cut(file: bytes, count: str) -> bytes:
    return file[: -int(count)]


@edit
def skip(file: bytes, count: str) -> bytes:
    return file[int(count) :]


@edit
def behind(file: bytes, names: str) -> bytes:
    return file + things(names)


@edit
def front(file: bytes, names: str) -> bytes:
    return things(names) + file


@edit
def before(file: bytes, mark: str, names: str) -> bytes:
    """Before the first `mark`."""
    return file.replace(mark.encode(), things(names) + mark.encode(), 1)


@edit
def put(file: bytes, mark: str, offset: str, new: str) -> bytes:
    """Bytes in hex over others, `offset` from the end of the first `mark`."""
    at = file.index(mark.encode()) + len(mark) + int(offset)
    return file[:at] + bytes.fromhex(new) + file[at + len(bytes.fromhex(new)) :]


@edit
def inside(file: bytes, names: str, lose: str = "0") -> bytes:
    """Things in the middle of the file, in the place of so many bytes."""
    middle = len(file) // 2
    return file[:middle] + (things(names) if names != "nothing" else b"") + file[middle + int(lose) :]


@edit
def every(file: bytes, count: str, names: str) -> bytes:
    """Things after every so many bytes."""
    return things(names).join(file[at : at + int(count)] for at in range(0, len(file), int(count)))


@edit
def fmt(file: bytes, content: str) -> bytes:
    """A WAV file with another fmt chunk."""
    return file[:12] + chunk(b"fmt ", bytes.fromhex(content)) + file[file.index(b"data") :]


@edit
def extensible(file: bytes, held: str, bits: str, mask: str) -> bytes:
    """A WAV file of so many bits in `held` bits."""
    channels, rate, block = int.from_bytes(file[22:24], "little"), int.from_bytes(file[24:28], "little"), int(held) // 8
    words = (0xFFFE, 2), (channels, 2), (rate, 4), (rate * channels * block, 4), (channels * block, 2), (int(held), 2)
    more = (22, 2), (int(bits), 2), (int(mask, 16), 4)
    content = b"".join(value.to_bytes(width, "little") for value, width in (*words, *more))
    return fmt(file, (content + bytes.fromhex("0100000000001000800000aa00389b71")).hex())


@edit
def data_first(file: bytes) -> bytes:
    """The fmt chunk behind the samples."""
    return file[:12] + file[36:] + file[12:36]


@edit
def again(file: bytes) -> bytes:
    """The data chunk twice."""
    return file + file[36:]


@edit
def ssnd_first(file: bytes) -> bytes:
    comm, ssnd = file.index(b"COMM"), file.index(b"SSND")
    return file[:12] + file[ssnd:] + file[comm : comm + 26]


@edit
def ssnd_offset(file: bytes) -> bytes:
    """16 bytes in front of the samples that are none."""
    at = file.index(b"SSND")
    sizes = (int.from_bytes(file[at + 4 : at + 8], "big") + 16).to_bytes(4, "big") + (16).to_bytes(4, "big")
    return file[: at + 4] + sizes + bytes(20) + file[at + 16 :]


@edit
def mdat_to_end(file: bytes) -> bytes:
    at = file.rindex(b"mdat")
    return file[: at - 4] + bytes(4) + file[at:]


@edit
def flac_declares(file: bytes, samples: str) -> bytes:
    packed = int.from_bytes(file[18:26], "big") >> 36 << 36 | int(samples)
    return file[:18] + packed.to_bytes(8, "big") + file[26:]


@edit
def vbri(file: bytes) -> bytes:
    """An MP3 file of 128 kbit/s with a VBRI tag in a frame of its own in front."""
    numbers = (1, 2), (1105, 2), (75, 2), (len(file) + 417, 4), (len(file) // 417, 4), (0, 8)
    tag = file[:4] + bytes(32) + b"VBRI" + b"".join(value.to_bytes(width, "big") for value, width in numbers)
    return tag.ljust(417, b"\0") + file


def ogg_pages(file: bytes) -> list[bytes]:
    pages, at = [], 0
    while at < len(file):
        segments = file[at + 26]
        length = 27 + segments + sum(file[at + 27 : at + 27 + segments])
        pages.append(file[at : at + length])
        at += length
    return pages


def checked(page: bytes) -> bytes:
    """An Ogg page with its checksum."""
    turn = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    crc = zlib.crc32((page[:22] + bytes(4) + page[26:]).translate(turn), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return page[:22] + crc.to_bytes(4, "little").translate(turn)[::-1] + page[26:]


@edit
def without_pages(file: bytes, first: str, last: str) -> bytes:
    pages = ogg_pages(file)
    del pages[slice(int(first), int(last) or None)]
    return b"".join(pages)


@edit
def never_ends(file: bytes) -> bytes:
    """No page says that it is the last."""
    return b"".join(checked(page[:5] + bytes([page[5] & 3]) + page[6:]) for page in ogg_pages(file))


@edit
def opus_gain(file: bytes, decibels: str) -> bytes:
    first = file[: len(ogg_pages(file)[0])]
    gain = (int(decibels) * 256).to_bytes(2, "little", signed=True)
    return checked(first[:44] + gain + first[46:]) + file[len(first) :]


def dsd(file: bytes) -> Any:
    """A WAV file's sound as DSD: of 64 bits for a sample so many are 1 as its level says; [channels, bytes]."""
    import numpy as np  # here: most edits start faster without
    import soundfile

    sound, _ = soundfile.read(io.BytesIO(file), always_2d=True)
    place = (np.arange(64).reshape(8, 8).T.reshape(-1) + 0.5) / 64  # spread over the bits
    bits = place < (sound.T[..., None] + 1) / 2
    return np.packbits(bits.reshape(sound.shape[1], -1), axis=1)


@edit
def dsf(file: bytes) -> bytes:
    import numpy as np

    data = dsd(file)
    padded = np.pad(data, ((0, 0), (0, -data.shape[1] % 4096))).reshape(len(data), -1, 4096)
    reverse = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)
    content = reverse[padded].transpose(1, 0, 2).tobytes()
    numbers = (1, 4), (0, 4), (2, 4), (len(data), 4), (2822400, 4), (1, 4), (data.shape[1] * 8, 8), (4096, 4), (0, 4)
    layout = b"".join(value.to_bytes(width, "little") for value, width in numbers)
    parts = (
        b"fmt " + (52).to_bytes(8, "little") + layout + b"data" + (12 + len(content)).to_bytes(8, "little") + content
    )
    return b"DSD " + (28).to_bytes(8, "little") + (28 + len(parts)).to_bytes(8, "little") + bytes(8) + parts


@edit
def dff(file: bytes) -> bytes:
    def wide(name: bytes, content: bytes) -> bytes:
        return chunk(name, content, "big", width=8)

    layout = wide(b"FS  ", (2822400).to_bytes(4, "big")) + wide(b"CHNL", b"\0\2SLFTSRGT")
    prop = wide(b"PROP", b"SND " + layout + wide(b"CMPR", b"DSD \x0enot compressed\0"))
    return wide(b"FRM8", b"DSD " + wide(b"FVER", b"\1\5\0\0") + prop + wide(b"DSD ", dsd(file).T.tobytes()))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(EDITS[sys.argv[2]](path.read_bytes(), *sys.argv[3:]))
