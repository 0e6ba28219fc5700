"""What ffprobe says of a file: its first stream of sound, its lengths and tags.

The file is untrusted: ffprobe gets no shell, no standard input, no network and no format that refers to other files.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.audio.form import Form
from runtime.audio.inspection import UnreadableError
from runtime.audio.speakers import mask_for, mask_of_layout
from runtime.audio.tags import Tags, kept

PROBE_SECONDS = 30  # to say what a file is
PACKETS_SECONDS = 600  # to list all packets of a file
MIN_SCORE = 25  # of 100: below it ffmpeg has guessed by the name

# Containers of sound and video that hold their own samples: no playlists, no lists of pictures, no devices.
FORMATS = (
    "aac,ac3,adx,aiff,amr,ape,asf,ast,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,iff,loas,matroska,webm,mlp,mmf,"
    "mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,rm,rso,sbc,shn,sox,spdif,swf,tak,truehd,tta,voc,"
    "w64,wav,wtv,wv,xwma"
)
INPUT = ("-protocol_whitelist", "file", "-format_whitelist", FORMATS)
# Containers without a header for all of the file, for which ffprobe guesses the length, and AVI, whose programs write
# wrong ones; it declares its size, too.
WITHOUT_LENGTH = (
    *("aac", "ac3", "amr", "avi", "dts", "dtshd", "eac3", "loas", "mlp", "mp3", "mpeg", "mpegts", "sbc", "spdif"),
    "truehd",
)
# Codecs without loss whose samples have the number of bits that ffprobe calls raw.
EXACT = ("alac", "ape", "flac", "pcm_bluray", "pcm_dvd", "shorten", "tak", "tta", "wavpack")
PCM = re.compile(r"pcm_[su](8|16|24|32|64)")
FLOATS = {"flt": "FLOAT", "fltp": "FLOAT", "dbl": "DOUBLE", "dblp": "DOUBLE"}
INTEGERS = ((8, "PCM_U8"), (16, "PCM_16"), (24, "PCM_24"), (32, "PCM_32"))  # most bits -> a type that holds them
BY = re.compile(r"^\[.* @ 0x[0-9a-f]+\] ")  # the part of ffmpeg that complains
# Complaints that come after the one with the reason.
SAY_NOTHING = ("Invalid data found when processing input", "Invalid argument", "Input/output error")
TAG_NAMES = {"track": "tracknumber"}  # ffmpeg's name, libsndfile's


@dataclass(frozen=True)
class Probed:
    """A file's first stream of sound."""

    codec: str
    bits: str  # of a sample, as far as the codec has such a thing
    sample_rate: int  # Hz
    channels: int
    channel_mask: int
    form: Form
    tags: Tags
    start: float  # s from the start of the file to that of its sound
    of_sound: float | None  # s, the length that the file declares of its sound; None where it declares none
    of_file: float | None  # s, of all of its streams together
    container: str = ""  # ffmpeg's name
    streams: int = 1  # of sound
    alone: bool = True  # without pictures and the like


@dataclass(frozen=True)
class Packets:
    """What a file really holds, in seconds."""

    sound: float  # from the first to the last packet of its sound
    file: float  # to the last packet of any stream


def file_name(path: Path) -> bytes:
    """`path` for ffmpeg: no other protocol, and no option, whatever its name."""
    return b"file:" + os.fsencode(path.absolute())


def probe(path: Path) -> Probed:
    """Raises UnreadableError for what ffprobe cannot read."""
    entries = ["-select_streams", "a", "-show_streams", "-show_format"]
    done = _ffprobe(path, [*entries, "-of", "json"], PROBE_SECONDS)
    try:
        found = json.loads(done.stdout or b"{}")
    except ValueError as error:
        raise UnreadableError(f"ffprobe failed: {error}") from error
    if done.returncode != 0 or not isinstance(found, dict):
        raise UnreadableError(last_line(done.stderr, path) or f"ffprobe ended with {done.returncode}")
    if not found.get("streams"):
        raise UnreadableError("no audio in it")
    stream, container = found["streams"][0], found.get("format", {})
    if int(container.get("probe_score", 0)) < MIN_SCORE:
        raise UnreadableError("unknown format")
    try:
        sample_rate, channels = int(stream["sample_rate"]), int(stream["channels"])
        of_sound, of_file = _declared(stream, container)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"no sample rate or channels in {stream.get('codec_name', 'its stream')}") from error
    if sample_rate < 1 or channels < 1:
        raise UnreadableError("no sample rate or channels")
    words = {**container.get("tags", {}), **stream.get("tags", {})}
    codec = str(stream.get("codec_name", "unknown"))
    return Probed(
        codec=codec,
        bits=str(stream.get("bits_per_raw_sample") or stream.get("bits_per_sample") or ""),
        sample_rate=sample_rate,
        channels=channels,
        channel_mask=mask_for(channels, mask_of_layout(str(stream.get("channel_layout", "")))),
        form=Form("FFMPEG", _subtype(codec, stream)),
        tags=kept({TAG_NAMES.get(name.lower(), name.lower()): str(text) for name, text in words.items()}),
        start=_seconds(stream.get("start_time")) - _seconds(container.get("start_time")),
        of_sound=of_sound,
        of_file=of_file,
        container=str(container.get("format_name", "")),
        streams=len(found["streams"]),
        alone=container.get("nb_streams") == 1,
    )


def packets(path: Path) -> Packets | None:
    """Where the packets of a file's streams end; None where ffprobe does not tell."""
    entries = ["-show_entries", "packet=codec_type,stream_index,pts_time,dts_time,duration_time", "-of", "compact=p=0"]
    try:
        done = _ffprobe(path, entries, PACKETS_SECONDS)
    except UnreadableError:
        return None
    first, sound, start, end, stream = None, 0.0, None, 0.0, None
    for line in done.stdout.decode(errors="replace").splitlines():
        fields = dict(each.split("=", 1) for each in line.split("|") if "=" in each)
        with suppress(ValueError):
            at = float(fields.get("pts_time", "") if fields.get("pts_time") != "N/A" else fields.get("dts_time", ""))
            ends = at + _seconds(fields.get("duration_time"))
            start, end = min(at, at if start is None else start), max(ends, end)
            if fields.get("codec_type") == "audio" and stream in (None, fields.get("stream_index")):
                stream = fields.get("stream_index")
                first, sound = min(at, at if first is None else first), max(ends, sound)
    return None if first is None or start is None else Packets(sound - first, end - start)


def _ffprobe(path: Path, entries: list[str], seconds: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - no shell, and the name cannot be an option
            ["ffprobe", "-v", "error", *INPUT, *entries, "-i", file_name(path)],  # noqa: S607
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadableError(f"no answer within {seconds:.0f} s") from None
    except OSError as error:
        raise UnreadableError(f"ffprobe failed: {error}") from error


def last_line(complaints: bytes, path: Path) -> str:
    """The last line of what ffmpeg or ffprobe prints that says something, without the name of the file."""
    text = complaints.replace(file_name(path) + b": ", b"").decode(errors="replace")
    lines = [BY.sub("", line).strip()[:300] for line in text.split("\n")]
    if any(line.startswith("Format not on whitelist") for line in lines):
        return "a format that is not accepted"
    lines = [line for line in lines if line]
    return next((line for line in reversed(lines) if line not in SAY_NOTHING), lines[-1] if lines else "")


def _declared(stream: dict[str, Any], container: dict[str, Any]) -> tuple[float | None, float | None]:
    """The lengths that a file declares of its sound and of itself, in seconds."""
    if container.get("format_name") in WITHOUT_LENGTH:
        return None, None
    of_file = _length(container.get("duration"))
    of_sound = _length(stream.get("duration"))
    start = max(0.0, _seconds(stream.get("start_time")))
    if of_sound is None:
        for name, text in stream.get("tags", {}).items():  # Matroska: where the stream ends
            if name.upper().startswith("DURATION"):
                of_sound = _length(_clock(str(text)) - start)
    if of_sound is None and of_file is not None and container.get("nb_streams") == 1:
        of_sound = _length(of_file - (start if "matroska" in container.get("format_name", "") else 0))
    return of_sound, of_file


def _length(text: Any) -> float | None:
    value = float(text or 0)
    return value if 0 < value < float("inf") else None


def _seconds(text: Any) -> float:
    """Of a time that may be missing or "N/A"."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return 0.0


def _clock(text: str) -> float:
    """Seconds of "00:00:03.001000000"; 0 for other words."""
    parts = text.split(":")
    return sum(_seconds(part) * 60**power for power, part in enumerate(reversed(parts))) if len(parts) == 3 else 0.0


def _subtype(codec: str, stream: dict[str, Any]) -> str:
    """The type of samples that holds the stream's exactly, or the name of a codec with loss."""
    pcm = PCM.match(codec)
    if codec in EXACT or codec.startswith("pcm_f"):
        if stream.get("sample_fmt") in FLOATS:
            return FLOATS[stream["sample_fmt"]]
        text = str(stream.get("bits_per_raw_sample", ""))
        bits = int(text) if text.isdigit() else 0
    else:
        bits = int(pcm[1]) if pcm else 0
    return next((subtype for most, subtype in INTEGERS if 0 < bits <= most), codec.upper())
