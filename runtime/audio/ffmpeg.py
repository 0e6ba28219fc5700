"""Songs that libsndfile does not know, decoded by an installed ffmpeg: M4A, AAC, Opus in MP4, video and so on.

The file is untrusted: ffmpeg gets no shell, no standard input, no network and no format that refers to other files.
"""

from __future__ import annotations

import queue
import shutil
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.audio.inspection import UnreadableError
from runtime.audio.mpeg import LONGEST_LACK  # containers, too, round lengths, and encoders pad
from runtime.audio.probe import INPUT, file_name, last_line, packets, probe
from runtime.errors import AudioError

STALL_SECONDS = 60  # without a sample: ffmpeg hangs
NOTED_LACK = 0.1  # s of which the user is told
LATE = 0.05  # s between the start of a file and that of its sound, of which the user is told
CORRUPT = b"corrupt"  # a word in complaints about packets that are not whole
BROKEN_OFF = (b"ended prematurely", b"partial file")  # complaints at a missing end that ffmpeg takes for the end
PIECE = 1 << 18  # bytes read from ffmpeg at a time
PIECES = 8  # read ahead
ALLOCATION = 1 << 29  # bytes ffmpeg may allocate at once


_allowed = True


def forbid_ffmpeg() -> None:
    """From now on this process reads songs by libsndfile only."""
    global _allowed
    _allowed = False


def ffmpeg_allowed() -> bool:
    return _allowed


def ffmpeg_installed() -> bool:
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


class FfmpegSource:
    """The samples of a file's first audio stream. Raises UnreadableError for what ffmpeg cannot read, AudioError."""

    samples: int | None = None  # containers declare seconds, and not to the sample

    def __init__(self, path: Path, before: str = "") -> None:
        """`before`: why libsndfile does not read it."""
        self._path, self._before = path, before
        self.notes: list[str] = []
        self._probed = found = probe(path)
        self.sample_rate, self.channels, self.channel_mask = found.sample_rate, found.channels, found.channel_mask
        self.form, self.tags = found.form, found.tags
        if found.start > LATE:
            self.notes.append(f"its sound starts {found.start:.2f} s after its picture: the stems start with the sound")
        if found.streams > 1:
            self.notes.append(f"it has {found.streams} streams of sound: the first is separated")
        if found.container == "mp3":
            self.notes.append(
                f"its MPEG audio frames cannot be followed from its start to its end ({before}): a part may be missing"
            )
        self._dtype = np.dtype("<f8" if self.form.dtype == "float64" else "<f4")
        self._done = 0  # samples
        self._rest = b""
        self._start()

    def _start(self) -> None:
        # The same channels all along, though a stream may change them; by speakers where they are known, or ffmpeg
        # would mix them for the speakers it takes by their number.
        mask = self.channel_mask
        channels = ["-af", f"aformat=channel_layouts={mask:#x}"] if mask else ["-ac", str(self.channels)]
        sound = ["-map", "0:a:0", "-ar", str(self.sample_rate), *channels, "-f", f"f{self._dtype.itemsize * 8}le"]
        limits = ["-nostdin", "-hide_banner", "-v", "error", "-xerror", "-max_alloc", str(ALLOCATION)]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                ["ffmpeg", *limits, *INPUT, "-i", file_name(self._path), *sound, "pipe:1"],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for us: ffmpeg ends when it is closed
            )
        except OSError as error:
            raise UnreadableError(f"ffmpeg failed: {error}") from error
        self._pieces: queue.Queue[bytes] = queue.Queue(PIECES)
        self._stopped = threading.Event()
        self._complaints: deque[bytes] = deque(maxlen=8)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._fetch, self._listen)]
        for thread in self._threads:
            thread.start()

    def _fetch(self) -> None:
        """Move ffmpeg's output into the queue, until it ends or nobody wants it any more."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        piece = b"begin"
        while piece and not self._stopped.is_set():
            piece = self._process.stdout.read(PIECE) or b""
            while not self._stopped.is_set():
                try:
                    self._pieces.put(piece, timeout=0.1)
                    break
                except queue.Full:
                    continue

    def _listen(self) -> None:
        """Read ffmpeg's complaints, or it would wait for somebody to do so; the last ones are kept."""
        assert self._process.stderr is not None  # noqa: S101
        while line := self._process.stderr.readline(PIECE):
            self._complaints.append(line[:1000])

    def read(self, count: int) -> NDArray[np.floating[Any]]:
        """[n, c]"""
        frame = self._dtype.itemsize * self.channels
        wanted = count * frame
        while len(self._rest) < wanted:
            try:
                piece = self._pieces.get(timeout=STALL_SECONDS)
            except queue.Empty:
                self.close()
                raise AudioError(
                    f"{self._path}: ffmpeg gave no sample for {STALL_SECONDS} s: convert it to WAV"
                ) from None
            if not piece:
                self._pieces.put(b"")  # for the next call
                break
            self._rest += piece
        whole = min(wanted, len(self._rest) // frame * frame)
        block, self._rest = self._rest[:whole], self._rest[whole:]
        samples = np.frombuffer(block, self._dtype).reshape(-1, self.channels)
        self._done += len(samples)
        if not len(samples):
            self._check_end()
        return samples

    def _check_end(self) -> None:
        code = self._process.wait()
        self._threads[1].join()
        complaints = b"".join(self._complaints)
        reason = last_line(complaints, self._path) or (f"exit code {code}" if code else "")
        done, declared = self._done / self.sample_rate, self._probed.of_sound or self._probed.of_file
        stopped = code != 0 or any(word in complaints for word in BROKEN_OFF)
        if not stopped and (declared is None or done >= declared - NOTED_LACK):
            return
        found, whole = packets(self._path), self._probed.of_file
        why = f" (ffmpeg: {reason})" if reason else ""
        if found is not None:
            absent, lost = (0.0 if whole is None else whole - found.file), found.sound - done
        else:
            absent, lost = float("inf") if stopped or declared is None else declared - done, 0.0
        if not self._done and CORRUPT not in complaints and (found is None or absent <= LONGEST_LACK):
            raise AudioError(self._undecoded(reason))
        if absent > LONGEST_LACK:
            raise AudioError(
                f"{self._path}: the file is incomplete or damaged: it declares {whole or declared or 0:.1f} s, and "
                f"{done:.1f} s of sound can be decoded{why}: get the complete file"
            )
        if lost > LONGEST_LACK:
            raise AudioError(
                f"{self._path}: the file is damaged: {done:.1f} s of {done + lost:.1f} s can be decoded{why}: get the "
                "complete file, or repair it"
            )
        if stopped:
            self.notes.append(f"its end is damaged or missing{why}: {done:.2f} s of sound were read")
        elif max(lost, absent if self._probed.alone else 0.0) > NOTED_LACK:  # a picture's last packet has no length
            self.notes.append(f"it declares {declared:.2f} s, and {done:.2f} s of sound were read")

    def _undecoded(self, reason: str) -> str:
        codec = f"{self._probed.codec} of {self._probed.bits} bits" if self._probed.bits else self._probed.codec
        said = "; ".join(each for each in (self._before and f"libsndfile: {self._before}", reason) if each)
        advice = "flac -d FILE makes a WAV file of it" if self._probed.codec == "flac" else "convert it to WAV"
        return (
            f"{self._path}: none of its sound ({codec}) can be decoded by libsndfile and this ffmpeg"
            f"{f' ({said})' if said else ''}: {advice}, or install a newer ffmpeg"
        )

    def close(self) -> None:
        """End ffmpeg, at whatever it is."""
        self._stopped.set()
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
