"""MPEG audio files (MP3, MP2, MP1): where their frames are, how long they last, and what is missing or beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runtime.audio.mpeg_header import (
    DECODER_DELAY,
    MOST_FREE,
    Frame,
    Kind,
    Length,
    declared_length,
    headers,
    parse,
)
from runtime.audio.tag_blocks import all_zeros, before_tags, behind_tags
from runtime.audio.view import Window
from runtime.errors import AudioError

LEAD = 1 << 16  # bytes behind the tags in front in which the first frame must begin
IN_A_ROW = 3  # frames that make sure: a few bytes alone look like a header by chance
LONGEST_LACK = 0.5  # s that may be missing of a song, and a note says so ...
LARGEST_LACK = 0.01  # ... if that is no larger part of it; a single frame may be missing of any song
LAST = 128  # bytes at the end of a file, where decoders look for titles: ID3v1
MANY_ZEROS = 1 << 14  # bytes behind the last frame: an incomplete download has them, so a note says so


class MixedError(Exception):
    """Frames of another sample rate, layer or number of channels follow."""


class Mpeg(NamedTuple):
    """The song in a file of frames."""

    text: list[tuple[int, int]]  # where tags of text are, in front and in the last bytes
    runs: list[tuple[int, int]]  # where frames of audio follow each other: first byte, byte behind the last
    skip: int  # samples that a decoder of these frames gives before the first of the song
    samples: int  # of the song
    notes: list[str]  # for the user: what is missing, and what is not audio


def read_mpeg(path: Path, window: Window, size: int) -> Mpeg | None:
    """The song in the MPEG audio file of `size` bytes at `path`, seen through `window`.

    None for a file that does not begin as one, or has no frames. Raises AudioError where more is missing than
    `LONGEST_LACK` and `LARGEST_LACK` allow, MixedError.
    """
    if window.at(0, 3) != b"ID3" and parse(window.at(0, 4)) is None:
        return None
    frames = _Frames(window, before_tags(window, size))
    start = behind_tags(window, 0)
    first = frames.find(start, min(frames.end, start + LEAD))
    if first is None:
        return None
    walk = _Walk(frames, *first)
    if not all_zeros(window, start, first[0]):
        walk.notes.append(f"{first[0] - start} bytes that are not audio precede the first frame")
    walk.go()
    walk.check(path)
    text = [(0, start), (max(0, size - LAST), size)]
    return Mpeg(text, walk.runs, *walk.song(), walk.notes)


class _Frames:
    """The frames of a file up to `end`."""

    def __init__(self, window: Window, end: int) -> None:
        self.window, self.end = window, end
        self._free: dict[Kind, int] = {}  # bytes of a frame of free format, without padding

    def at(self, position: int) -> Frame | None:
        frame = parse(self.window.at(position, 4))
        if frame is None or frame.length:
            return frame
        if frame.kind not in self._free:
            self._free[frame.kind] = self._free_length(position, frame)
        size = self._free[frame.kind]
        return frame._replace(length=size + frame.padding) if size else None

    def _free_length(self, position: int, frame: Frame) -> int:
        """How far it is to the second of three frames of free format; 0 for none."""
        for second in headers(self.window, position + 4, position + MOST_FREE):
            size = second - position - frame.padding
            behind = parse(self.window.at(second, 4))
            if behind is not None and behind[:2] == frame[:2]:
                third = parse(self.window.at(second + size + behind.padding, 4))
                if third is not None and third[:2] == frame[:2]:
                    return size
        return 0

    def find(self, first: int, last: int) -> tuple[int, Kind] | None:
        """The first position between the two from which on frames follow each other, and their kind."""
        for position in headers(self.window, first, last):
            frame = self.at(position)
            if frame is not None and self._in_a_row(position, frame.kind):
                return position, frame.kind
        return None

    def _in_a_row(self, position: int, kind: Kind) -> bool:
        for _ in range(IN_A_ROW):
            frame = self.at(position)
            if frame is None or frame.kind != kind:
                return False
            position += frame.length
            if position >= self.end:
                return position == self.end
        return True


@dataclass
class _Part:
    """The frames that one tag of length tells of: joined files have several tags."""

    length: Length | None = None
    frames: int = 0
    bytes: int = 0  # of the frames, and of the one with the tag
    junk: int = 0  # bytes between frames that are neither frames nor tags of text

    @property
    def declared(self) -> bool:
        return self.length is not None and bool(self.length.frames or self.length.bytes)

    @property
    def lack(self) -> int:
        """Frames that are missing by what is declared; where nothing is, what would fill the place of the junk."""
        if self.length is None or not self.declared:
            return self.junk * self.frames // self.bytes if self.bytes else 0
        frames, bytes_ = self.length.frames - self.frames, self.length.bytes - self.bytes
        # Encoders count in different ways: one of the two numbers is enough to call the part whole.
        if (self.length.frames and frames <= 0) or (self.length.bytes and bytes_ <= 0):
            return 0
        return frames if self.length.frames else 1 + bytes_ * self.frames // self.bytes


class _Walk:
    """From frame to frame through a file, the first of them at `position`."""

    def __init__(self, frames: _Frames, position: int, kind: Kind) -> None:
        self.kind = kind
        self.runs: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self._frames, self._position = frames, position
        self._parts = [_Part()]
        self._junk: list[tuple[float, int]] = []  # between frames: s, bytes
        self._incomplete = ""  # how much of the last frame is there

    def go(self) -> None:
        """To the end. Raises MixedError."""
        window = self._frames.window
        while self._position < self._frames.end:
            frame = self._frames.at(self._position)
            if frame is None or frame.kind != self.kind:
                self._pass_over()
                continue
            behind = self._position + frame.length
            if behind > self._frames.end:
                self._incomplete = f"its last frame has {self._frames.end - self._position} of {frame.length} bytes"
                return
            length = declared_length(window.at(self._position, 192))
            if length is not None:
                self._parts.append(_Part(length))
            else:
                self._parts[-1].frames += 1
                joined = bool(self.runs) and self.runs[-1][1] == self._position
                first = self.runs.pop()[0] if joined else self._position
                self.runs.append((first, behind))
            self._parts[-1].bytes += frame.length
            self._position = behind

    def _pass_over(self) -> None:
        """Go on where frames follow, behind what is none."""
        window, end = self._frames.window, self._frames.end
        first = min(behind_tags(window, self._position), end)
        found = self._frames.find(first, end)
        if found is None:
            self._position = end
            if end - first < 4 and window.at(first, 1) == b"\xff":
                self._incomplete = "the header of its last frame is not whole"
            elif not all_zeros(window, first, end):
                self.notes.append(f"{end - first} bytes that are not audio follow the last frame")
            elif end - first > MANY_ZEROS:
                self.notes.append(
                    f"{end - first} bytes of zeros follow the last frame: it may be an incomplete download"
                )
            return
        self._position, kind = found
        if kind != self.kind:
            raise MixedError(f"changes from {self.kind} to {kind} at {self._seconds(self._count):.1f} s")
        if self._position > first:
            self._junk.append((self._seconds(self._count), self._position - first))
            self._parts[-1].junk += self._position - first

    @property
    def _count(self) -> int:
        return sum(part.frames for part in self._parts)

    def _seconds(self, frames: int) -> float:
        return frames * self.kind.samples / self.kind.sample_rate

    def check(self, path: Path) -> None:
        """Note what is missing and what is between the frames. Raises AudioError where too much is missing."""
        lost = sum(part.lack for part in self._parts)
        if self._incomplete and not self._parts[-1].declared:
            lost += 1
        held, whole = self._seconds(self._count), self._seconds(self._count + lost)
        if lost > 1 and whole - held > min(LONGEST_LACK, LARGEST_LACK * whole):
            if self._junk:
                at, size = self._junk[0]
                raise AudioError(
                    f"{path}: the file is damaged: {size} bytes at {at:.1f} s are not MPEG audio: get the complete "
                    "file, or repair it"
                )
            raise AudioError(
                f"{path}: the file is incomplete: it declares {whole:.1f} s of audio, and it holds {held:.1f} s: get "
                "the complete file"
            )
        if self._incomplete and not self._parts[-1].declared:
            self.notes.append(f"{self._incomplete} and is left out: more may be missing")
        elif lost:
            self.notes.append(f"{whole - held:.2g} s of the {whole:.1f} s it declares are missing")
        if self._junk:
            size, at = sum(size for _, size in self._junk), self._junk[0][0]
            self.notes.append(f"{size} bytes between frames that are not audio were left out, the first at {at:.1f} s")

    def song(self) -> tuple[int, int]:
        """The samples before the first of the song, and those of the song."""
        frame, parts = self.kind.samples, [part for part in self._parts if part.frames]
        total = frame * self._count
        first, last = (parts[0].length, parts[-1].length) if parts else (None, None)
        front = first.delay + DECODER_DELAY if first is not None and first.delay is not None else 0
        behind = 0
        if last is not None and last.delay is not None and parts[-1].frames <= (last.frames or total):
            behind = max(0, last.padding - DECODER_DELAY - frame * parts[-1].lack)
        return (front, total - front - behind) if front + behind < total else (0, total)
