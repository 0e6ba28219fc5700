"""What the header of a FLAC file says."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.audio.speakers import flac_mask
from runtime.audio.tag_blocks import before_padding, behind_tags
from runtime.audio.view import Window

VORBIS_COMMENT = 4  # type of a block of metadata
CHANNEL_MASK = re.compile(rb"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x([0-9a-f]{1,8})", re.IGNORECASE)


@dataclass(frozen=True)
class FlacHeader:
    samples: int | None  # None where the encoder did not know
    bits: int
    channel_mask: int  # as said, else as implied by the number of channels
    end: int  # position behind the last frame and before tags of other formats
    changes: dict[int, bytes]  # what makes it a header without a length: position -> bytes


def flac_header(window: Window, size: int) -> FlacHeader | None:
    """The header of the FLAC file of `size` bytes in `window`, perhaps behind an ID3 tag; None for other files."""
    start = behind_tags(window, 0)
    head = window.at(start, 26)
    if len(head) < 26 or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return None
    # STREAMINFO: 20 bits of sample rate, 3 of channels, 5 of bits, 36 of samples, from byte 10 of its content.
    packed = int.from_bytes(head[18:26], "big")
    samples = packed & (1 << 36) - 1
    bits = (packed >> 36 & 0x1F) + 1
    mask = _channel_mask(window, start + 4) or flac_mask((packed >> 41 & 7) + 1)
    return FlacHeader(
        samples or None, bits, mask, before_padding(window, size), {start + 18: (packed - samples).to_bytes(8, "big")}
    )


def _channel_mask(window: Window, position: int) -> int:
    """As a field of the Vorbis comment says, one of the blocks of metadata from `position` on; 0 without the field."""
    while len(head := window.at(position, 4)) == 4:
        length = int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == VORBIS_COMMENT:
            found = CHANNEL_MASK.search(window.at(position + 4, length))
            return int(found[1], 16) if found else 0
        if head[0] & 0x80:  # the last block
            break
        position += 4 + length
    return 0
