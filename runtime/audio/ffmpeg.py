"""Songs that libsndfile does not know, decoded by an installed ffmpeg: M4A, AAC, Opus in MP4, video and so on.

The file is untrusted: ffmpeg gets no shell, no standard input, no network and no format that refers to other files.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.audio.form import Form
from runtime.audio.sndfile import UnreadableError
from runtime.audio.tags import kept
from runtime.errors import AudioError

PROBE_SECONDS = 30  # to say what a file is
STALL_SECONDS = 60  # without a sample: ffmpeg hangs
LONGEST_LACK = 0.5  # s that a song may end before the length it declares: containers round, encoders pad
CUT_OFF = (b"ended prematurely", b"partial file")  # complaints at a cut that ffmpeg takes for the end
MIN_SCORE = 25  # of 100: below it ffmpeg has guessed by the name
PIECE = 1 << 18  # bytes read from ffmpeg at a time
PIECES = 8  # read ahead
ALLOCATION = 1 << 29  # bytes ffmpeg may allocate at once

# Containers of sound and video that hold their own samples: no playlists, no lists of pictures, no devices.
FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpc,mpc8,mpeg,mpegts,mxf,ogg,rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)
INPUT = ("-protocol_whitelist", "file", "-format_whitelist", FORMATS)
# Codecs without loss whose samples are integers of a known number of bits.
EXACT = ("alac", "ape", "flac", "shorten", "tak", "tta", "wavpack")
WITHOUT_LENGTH = ("aac", "ac3", "amr", "dts", "dtshd", "eac3", "loas", "mp3", "mpeg", "mpegts", "truehd")
TAG_NAMES = {"track": "tracknumber"}  # ffmpeg's name, libsndfile's


def ffmpeg_installed() -> bool:
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


class FfmpegSource:
    """The samples of a file's first audio stream. Raises UnreadableError for what ffmpeg cannot read, AudioError."""

    samples: int | None = None  # containers declare seconds, and not to the sample

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        self._name = b"file:" + os.fsencode(path.absolute())  # no other protocol, and no option, whatever its name
        found = self._probe()
        stream = found["streams"][0]
        try:
            self.sample_rate, self.channels = int(stream["sample_rate"]), int(stream["channels"])
            self._declared = _declared_seconds(stream, found.get("format", {}))
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableError(f"no sample rate or channels in {stream.get('codec_name', 'its stream')}") from error
        if self.sample_rate < 1 or self.channels < 1:
            raise UnreadableError("no sample rate or channels")
        bits = str(stream.get("bits_per_raw_sample", ""))
        exact = stream.get("codec_name") in EXACT and bits in ("16", "24")
        self.form = Form("FFMPEG", f"PCM_{bits}" if exact else str(stream.get("codec_name", "unknown")).upper())
        words = {**found.get("format", {}).get("tags", {}), **stream.get("tags", {})}
        self.tags = kept({TAG_NAMES.get(name.lower(), name.lower()): str(text) for name, text in words.items()})
        self._done = 0  # samples
        self._rest = b""
        self._start()

    def _probe(self) -> dict[str, Any]:
        command = ["ffprobe", "-v", "error", *INPUT, "-select_streams", "a:0", "-show_streams", "-show_format"]
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and the name cannot be an option
                [*command, "-of", "json", "-i", self._name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_SECONDS,
                check=False,
            )
            found = json.loads(done.stdout or b"{}")
        except subprocess.TimeoutExpired:
            raise UnreadableError(f"gave no answer in {PROBE_SECONDS} s") from None
        except (OSError, ValueError) as error:
            raise UnreadableError(f"ffprobe failed: {error}") from error
        if done.returncode != 0 or not isinstance(found, dict):
            raise UnreadableError(self._words(done.stderr) or f"ffprobe ended with {done.returncode}")
        if not found.get("streams"):
            raise UnreadableError("no audio in it")
        if int(found.get("format", {}).get("probe_score", 0)) < MIN_SCORE:
            raise UnreadableError("looks like no format it knows")
        return found

    def _start(self) -> None:
        command = [
            "ffmpeg",
            "-nostdin",
            "-hide_banner",
            "-v",
            "error",
            "-xerror",
            "-max_alloc",
            str(ALLOCATION),
            *INPUT,
        ]
        output = ["-map", "0:a:0", "-ar", str(self.sample_rate), "-ac", str(self.channels), "-f", "f32le", "pipe:1"]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [*command, "-i", self._name, *output],
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
        """[n, c] float32"""
        frame = 4 * self.channels
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
        samples = np.frombuffer(block, "<f4").reshape(-1, self.channels)
        self._done += len(samples)
        if not len(samples):
            self._check_end()
        return samples

    def _check_end(self) -> None:
        code = self._process.wait()
        self._threads[1].join()
        complaints = b"".join(self._complaints)
        complaint = self._words(complaints)
        if code != 0 or any(word in complaints for word in CUT_OFF):
            raise AudioError(
                f"{self._path}: is cut off or damaged: ffmpeg stopped at {self._done / self.sample_rate:.1f} s "
                f"({complaint or f'exit code {code}'}): get the whole file, or repair it"
            )
        found = self._done / self.sample_rate
        if self._declared is not None and found < self._declared - LONGEST_LACK:
            raise AudioError(
                f"{self._path}: is cut off or damaged: declares {self._declared:.1f} s, {found:.1f} s can be decoded"
                f"{f' ({complaint})' if complaint else ''}: get the whole file"
            )

    def _words(self, complaints: bytes) -> str:
        """The last line of `complaints`, without the name of the file."""
        lines = complaints.replace(self._name + b": ", b"").decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

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


def _declared_seconds(stream: dict[str, Any], container: dict[str, Any]) -> float | None:
    """The length that a container declares; None for one without a header for all of it, where ffmpeg only guesses."""
    text = stream.get("duration") or container.get("duration")
    if text is None or container.get("format_name") in WITHOUT_LENGTH:
        return None
    value = float(text)
    return value if 0 < value < float("inf") else None
