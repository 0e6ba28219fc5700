"""Blocks of tags (ID3, APE, Lyrics3) and zeros that programs put in front of and behind files of any format."""

from __future__ import annotations

from runtime.audio.view import Window

ZEROS = 128  # in a row at the end of a file, which are no content


def syncsafe(four: bytes) -> int:
    """A number of 7 bits a byte, as ID3 writes them."""
    value = 0
    for byte in four:
        value = value << 7 | byte & 0x7F
    return value


def behind_tags(window: Window, position: int) -> int:
    """The position behind the tags of text that begin at `position`."""
    while True:
        start = window.at(position, 32)
        if start[:3] == b"ID3" and len(start) >= 10:
            position += 10 + syncsafe(start[6:10]) + (10 if start[5] & 0x10 else 0)
        elif start[:8] == b"APETAGEX" and len(start) == 32:
            position += 32 + int.from_bytes(start[12:16], "little")
        elif start[:3] == b"TAG":
            position += 128
        else:
            return position


def before_tags(window: Window, size: int) -> int:
    """The position of the tags of text at the end of a file of `size` bytes; `size` where there are none."""
    end = size
    if window.at(max(0, end - 128), 3) == b"TAG":
        end -= 128
    while True:
        last = window.at(max(0, end - 32), min(32, end))
        if last[:8] == b"APETAGEX":
            length = int.from_bytes(last[12:16], "little") + (32 if last[23] & 0x80 else 0)
        elif last[-9:] == b"LYRICS200" and last[-15:-9].isdigit():
            length = int(last[-15:-9]) + 15
        elif last[-10:-7] == b"3DI":
            length = syncsafe(last[-4:]) + 20
        else:
            return end
        if not 0 < length <= end:
            return end
        end -= length


def before_padding(window: Window, size: int) -> int:
    """The position of the tags and zeros at the end of a file of `size` bytes; `size` where there are none.

    Up to ZEROS - 1 zeros may be left: the last bytes of the content may be zeros.
    """
    while True:
        end = before_tags(window, size)
        if end >= ZEROS and all_zeros(window, end - ZEROS, end):
            end -= ZEROS
        if end == size:
            return end
        size = end


def all_zeros(window: Window, first: int, last: int) -> bool:
    """Whether the bytes from `first` to before `last` are zeros."""
    return not any(window.at(at, min(Window.SIZE, last - at)).strip(b"\0") for at in range(first, last, Window.SIZE))
