"""Where files say which speakers their channels are for: read from a song, written into a stem."""

from __future__ import annotations

import re

import soundfile

from runtime.audio.form import Form
from runtime.audio.part import Part
from runtime.audio.speakers import mask_of_layout

WAV_LOG = re.compile(r"^\s*Channel Mask\s*:\s*(0x[0-9A-F]+)", re.MULTILINE)
APPLE_LOG = re.compile(r"^\s*Layout\s*:.*\((.*)\)$", re.MULTILINE)  # AIFF and CAF: "MPEG 5.1 A (L, R, C, LFE, Ls, Rs)"
APPLE = {
    **{"L": "FL", "R": "FR", "C": "FC", "LFE": "LFE", "Ls": "SL", "Rs": "SR", "Cs": "BC", "Rls": "BL", "Rrs": "BR"},
    **{"Lc": "FLC", "Rc": "FRC"},
}
FORMAT_EXTENSIBLE = b"\xfe\xff"
MASK_AT = 28  # bytes behind the start of a WAV file's fmt chunk
HEAD = 1 << 17  # bytes of a file in which its header ends: titles have 4096 characters at most
FLAC_FIELD = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x"
FLAC_DIGITS = 8
# libsndfile writes no such field. It writes this one, of the same length, without a word of its own added.
PLACEHOLDER = "libsndfile".ljust(len(FLAC_FIELD) + FLAC_DIGITS - len("software="), ".")


def mask_of_file(file: soundfile.SoundFile) -> int:
    """What the open file says; 0 for nothing. FLAC and Ogg, which imply it, are left to `inspect`."""
    log = file.extra_info
    if found := WAV_LOG.search(log):
        return int(found[1], 16)
    names = found[1].split(", ") if (found := APPLE_LOG.search(log)) else []
    return mask_of_layout("+".join(APPLE.get(name, name) for name in names))


def container_for(form: Form, channels: int) -> str:
    """libsndfile's name of the container that can say it."""
    return "WAVEX" if form.format == "WAV" and channels > 2 else form.format


def has_field(form: Form, channels: int) -> bool:
    """Whether files of `form` can say any mask."""
    return channels > 2 and form.format in ("WAV", "FLAC")


def make_room(file: soundfile.SoundFile) -> None:
    """Before the first sample is written to a file that can say a mask."""
    if file.format == "FLAC":
        file.software = PLACEHOLDER


def write_mask(part: Part, mask: int) -> None:
    """Into the header of the encoded file, which libsndfile has closed."""
    part.seek(0)
    head = part.read(HEAD)
    if head[:4] == b"fLaC":
        at = head.index(b"software=" + PLACEHOLDER.encode())
        field = FLAC_FIELD + f"{mask:0{FLAC_DIGITS}X}".encode()
    else:
        at = head.index(b"fmt ") + MASK_AT
        assert head[at - MASK_AT + 8 :][:2] == FORMAT_EXTENSIBLE  # noqa: S101 - RF64 has it, and WAVEX
        field = mask.to_bytes(4, "little")
    part.seek(at)
    part.write(field)
    part.check()
