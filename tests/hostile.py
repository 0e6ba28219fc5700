"""Files that are not what they seem, made here."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile


def sound(form: str, subtype: str | None = None, seconds: float = 1.0, rate: int = 8000, channels: int = 1) -> bytes:
    """Silence, which takes next to no room in a compressed file."""
    made = io.BytesIO()
    with soundfile.SoundFile(made, "w", rate, channels, format=form, subtype=subtype) as file:
        for _ in range(int(seconds)):
            file.write(np.zeros((rate, channels)))
    return made.getvalue()


def flac_of_2_to_36_samples() -> bytes:
    """A header that declares as many samples as FLAC can."""
    data = bytearray(sound("FLAC"))
    word = int.from_bytes(data[18:26], "big")
    data[18:26] = (word & ~((1 << 36) - 1) | ((1 << 36) - 1)).to_bytes(8, "big")
    return bytes(data)


def wav_of(size: int) -> bytes:
    """One second whose header declares so many bytes."""
    data = bytearray(sound("WAV", "PCM_16"))
    data[4:8] = struct.pack("<I", size)
    data[40:44] = struct.pack("<I", size - 36)
    return bytes(data)


def wav_of_nan() -> bytes:
    made = io.BytesIO()
    soundfile.write(made, np.full((8000, 1), np.nan), 8000, format="WAV", subtype="FLOAT")
    return made.getvalue()


def wav_at(rate: int) -> bytes:
    """A header with a sample rate of its own."""
    data = bytearray(sound("WAV", "PCM_16"))
    data[24:28] = struct.pack("<I", rate)
    return bytes(data)


def playlist() -> bytes:
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


def concat_list() -> bytes:
    return b"ffconcat version 1.0\nfile /etc/passwd\n"


def picture() -> bytes:
    return b"\x89PNG\r\n\x1a\n" + bytes(1000)


def endless_tag() -> bytes:
    """An MP3 tag that claims 256 MB."""
    return b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(1000)


def flac_of_unknown_length() -> bytes:
    """Nine minutes of which the header does not say how long they are."""
    data = bytearray(sound("FLAC", seconds=540))
    word = int.from_bytes(data[18:26], "big")
    data[18:26] = (word & ~((1 << 36) - 1)).to_bytes(8, "big")
    return bytes(data)
