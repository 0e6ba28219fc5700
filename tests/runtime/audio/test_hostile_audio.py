"""Files made to break a reader: each is read or refused in one line, quickly, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from halving import halving_engine

from runtime.audio import open_song
from runtime.audio import reader as reader_module
from runtime.errors import AudioError

pytestmark = pytest.mark.seconds

SECONDS = 10  # for one file, at most
SAMPLES = 20000
FORMS = {
    "wav": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "wavf": ("WAV", "FLOAT"),
    "adpcm": ("WAV", "IMA_ADPCM"),
    "gsm": ("WAV", "GSM610"),
    "wavex": ("WAVEX", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "alac": ("CAF", "ALAC_16"),
    "voc": ("VOC", "PCM_16"),
    "flac": ("FLAC", "PCM_24"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def whole_files() -> dict[str, bytes]:
    audio = (0.3 * np.random.default_rng(0).standard_normal((SAMPLES, 1))).clip(-1, 1)
    files = {}
    for name, (container, subtype) in FORMS.items():
        out = io.BytesIO()
        soundfile.write(out, audio, 48000, format=container, subtype=subtype)
        files[name] = out.getvalue()
    return files


def with_field(content: bytes, before: bytes, offset: int, size: int, value: int) -> bytes:
    """`content` with the little-endian number `offset` bytes behind `before` replaced."""
    at = content.index(before) + len(before) + offset
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


def absurd(files: dict[str, bytes]) -> dict[str, bytes]:
    """Headers that say what cannot be."""
    cases = {}
    for value in (0, 1, 999, 768001, 2**31 - 1, 2**31, 2**32 - 1):
        cases[f"rate {value}.wav"] = with_field(files["wav"], b"fmt ", 8, 4, value)
        cases[f"rate {value}.w64"] = files["w64"].replace((48000).to_bytes(4, "little"), value.to_bytes(4, "little"), 1)
        cases[f"rate {value}.au"] = files["au"][:16] + value.to_bytes(4, "big") + files["au"][20:]
    for value in (0, 1025, 65535):
        cases[f"channels {value}.wav"] = with_field(files["wav"], b"fmt ", 6, 2, value)
        cases[f"channels {value}.au"] = files["au"][:20] + value.to_bytes(4, "big") + files["au"][24:]
    for value in (0, 3, 65535):
        cases[f"bits {value}.wav"] = with_field(files["wav"], b"fmt ", 18, 2, value)
    for value in (0, 0x1234, 0xFFFE):
        cases[f"codec {value}.wav"] = with_field(files["wav"], b"fmt ", 4, 2, value)
    for value in (2**31 - 8192, 2**32 - 2, 10**9, SAMPLES * 2 + 2):
        cases[f"data {value}.wav"] = with_field(files["wav"], b"data", 0, 4, value)
    cases["data 0.wav"] = with_field(files["wav"], b"data", 0, 4, 0)[:44]
    cases["fmt 2^32.wav"] = with_field(files["wav"], b"fmt ", 0, 4, 2**32 - 1)
    streaminfo = files["flac"].index(b"fLaC") + 8
    for name, rate in {"zero": 0, "one": 1, "most": 0xFFFFF}.items():
        packed = int.from_bytes(files["flac"][streaminfo + 10 : streaminfo + 18], "big")
        packed = packed & ~(0xFFFFF << 44) | rate << 44
        cases[f"rate {name}.flac"] = (
            files["flac"][: streaminfo + 10] + packed.to_bytes(8, "big") + files["flac"][streaminfo + 18 :]
        )
    packed = int.from_bytes(files["flac"][streaminfo + 10 : streaminfo + 18], "big") | (1 << 36) - 1
    cases["endless.flac"] = (
        files["flac"][: streaminfo + 10] + packed.to_bytes(8, "big") + files["flac"][streaminfo + 18 :]
    )
    for name, sample in {"nan": np.nan, "inf": np.inf, "huge": 1e30}.items():
        out = io.BytesIO()
        soundfile.write(out, np.array([0.1, sample, 0.1], np.float32), 44100, format="WAV", subtype="FLOAT")
        cases[f"{name}.wav"] = out.getvalue()
    return cases


def hostile_files() -> dict[str, bytes]:
    """By name. Not all are beyond reading: a changed byte may be a sample."""
    files = whole_files()
    rng = np.random.default_rng(1)
    cases = absurd(files)
    for name, content in files.items():
        for part in (0.001, 0.01, 0.1, 0.5, 0.9):
            cases[f"cut to {part}.{name}"] = content[: int(part * len(content))]
        for number in range(8):  # bytes of the header changed
            changed = bytearray(content)
            for at in rng.integers(0, min(64, len(content)), 1 + number):
                changed[at] = rng.integers(256)
            cases[f"header {number}.{name}"] = bytes(changed)
        middle = bytearray(content)
        middle[len(content) // 3 : len(content) // 2] = rng.bytes(len(content) // 2 - len(content) // 3)
        cases[f"garbage inside.{name}"] = bytes(middle)
        cases[f"header and noise.{name}"] = content[:64] + rng.bytes(5000)
    for suffix in ("wav", "flac", "ogg", "mp3", "m4a", "aiff", "opus", "raw", "au", "none"):
        cases[f"empty.{suffix}"] = b""
        cases[f"zeros.{suffix}"] = bytes(5000)
        cases[f"noise.{suffix}"] = rng.bytes(20000)
        cases[f"text.{suffix}"] = b"this is no song\n" * 500
    cases |= {
        "one byte.wav": b"R",
        "picture.mp3": b"\x89PNG\r\n\x1a\n" + rng.bytes(3000),
        "archive.flac": b"PK\x03\x04" + rng.bytes(3000),
        "id3 without end.mp3": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(1000),
        "riff of riffs.wav": b"RIFF\xff\xff\xff\xffWAVE" * 500,
        "ünï cødé 🎵.wav": files["wav"][:30],
        "x" * 240 + ".wav": b"RIFF",
        "two\nlines.wav": b"RIFF",
        "$(touch pwned); `id`.wav": b"RIFF",
        "--help.wav": b"RIFF",
    }
    return cases


CASES = hostile_files()


def outcome(path) -> str | None:
    """Why the song is refused; None for one that is read to its end."""
    try:
        with open_song(path) as song:
            for block in song.blocks():
                assert np.isfinite(block).all() and block.shape[0] == song.channels
    except AudioError as error:
        return str(error)
    return None


def test_there_are_enough_of_them():
    assert len(CASES) >= 300


def test_each_is_read_or_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(reader_module, "ffmpeg_installed", lambda: False)
    refused = 0
    for name, content in CASES.items():
        path = tmp_path / name
        path.write_bytes(content)
        start = time.monotonic()
        reason = outcome(path)
        assert time.monotonic() - start < SECONDS, name
        if reason is not None:
            refused += 1
            assert reason.startswith(f"{path}: ") and "\n" not in reason.removeprefix(f"{path}"), reason
        path.unlink()
        assert not list(tmp_path.iterdir()), name
    assert refused >= 200


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in CASES
        if name.startswith(("cut to", "empty", "zeros", "noise", "text", "rate", "channels"))
        and not name.endswith("voc")
        and name != "cut to 0.9.adpcm"  # lacks a part of its last block, and is taken with a note
    ],
)
def test_these_are_refused(tmp_path, monkeypatch, name):
    """What is incomplete, empty, not audio or absurd in its rate or channels never becomes a song."""
    monkeypatch.setattr(reader_module, "ffmpeg_installed", lambda: False)
    (tmp_path / name).write_bytes(CASES[name])
    assert outcome(tmp_path / name) is not None


@pytest.mark.needs("ffmpeg", "ffprobe")
def test_ffmpeg_does_not_make_songs_of_them_either(tmp_path):
    names = [f"{kind}.{suffix}" for kind in ("empty", "zeros", "noise", "text") for suffix in ("wav", "mp3", "m4a")]
    names += [f"cut to 0.5.{form}" for form in FORMS if form != "voc"] + [
        "id3 without end.mp3",
        "picture.mp3",
        "two\nlines.wav",
    ]
    for name in names:
        path = tmp_path / name
        path.write_bytes(CASES[name])
        start = time.monotonic()
        reason = outcome(path)
        assert reason is not None and reason.startswith(f"{path}: "), (name, reason)
        assert time.monotonic() - start < SECONDS, name


@pytest.fixture(scope="module")
def refused_files(tmp_path_factory):
    """An engine, and a folder of what `open_song` refuses without ffmpeg."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "ffmpeg_installed", lambda: False)
        stems: set[str] = set()
        for number, (name, content) in enumerate(CASES.items()):
            path = folder / (name if (folder / name).stem not in stems else f"{number} {name}")
            path.write_bytes(content)
            if outcome(path) is None:
                path.unlink()
            else:
                stems.add(path.stem)  # one of each: songs of one name would be refused for that already
    return halving_engine(tmp_path_factory.mktemp("engine") / "x.onnx"), folder


def bsm_run(engine, folder, songs, out):
    command = [sys.executable, "-m", "runtime.cli", str(engine), "-o", str(out), "--", *map(str, songs)]
    environment = {**os.environ, "PATH": str(folder / "no programs here")}
    return subprocess.run(command, capture_output=True, timeout=300, check=False, cwd=folder, env=environment)


def test_bsm_run_refuses_two_hundred_by_name_and_writes_nothing(refused_files, tmp_path):
    engine, folder = refused_files
    songs = sorted(folder.iterdir())
    assert len(songs) >= 200
    done = bsm_run(engine, folder, songs, tmp_path / "out")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    said = done.stderr.decode(errors="replace")
    for song in songs:
        assert song.name.replace("\n", "\\n") in said, song.name
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(folder.iterdir()) == songs


@pytest.mark.parametrize(
    "name", ["empty.wav", "noise.mp3", "cut to 0.5.flac", "rate 0.wav", "channels 0.wav", "nan.wav", "--help.wav"]
)
def test_bsm_run_on_one_of_them(refused_files, tmp_path, name):
    engine, folder = refused_files
    done = bsm_run(engine, folder, [folder / name], tmp_path / "out")
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert name in done.stderr.decode()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
