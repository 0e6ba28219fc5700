"""Titles in ID3 chunks, and track numbers: they go from the song into its stems."""

from __future__ import annotations

import io

import pytest
import soundfile
from sounds import FFMPEG, noise, run_ffmpeg

from runtime.audio import Form, SongWriter, open_song

WORDS = {"title": "Tïtle", "artist": "A. Rtist", "tracknumber": "7/12", "comment": "a comment"}


def syncsafe(value):
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(version, name, content):
    size = len(content).to_bytes(3 if version == 2 else 4, "big") if version < 4 else syncsafe(len(content))
    return name.encode() + size + (b"" if version == 2 else b"\0\0") + content


def id3(version, encoding, codec):
    names = ("TT2", "TP1", "TRK", "COM") if version == 2 else ("TIT2", "TPE1", "TRCK", "COMM")
    end = "\0".encode(codec).removeprefix(b"\xff\xfe")
    frames = [frame(version, "PIC" if version == 2 else "APIC", b"\0picture" * 50)]
    for name, text in zip(names, WORDS.values(), strict=True):
        between = b"eng" + "".encode(codec) + end if name.startswith("COM") else b""
        frames.append(frame(version, name, bytes([encoding]) + between + text.encode(codec)))
    frames.append(frame(version, "XXX" if version == 2 else "TXXX", b"\0other\0words"))
    body = b"".join(frames) + bytes(100)
    return b"ID3" + bytes([version, 0, 0]) + syncsafe(len(body)) + body


def with_chunk(content, chunk, behind):
    """A WAV or AIFF file with another chunk, behind its samples or in front."""
    order = "little" if content[:4] == b"RIFF" else "big"
    name = b"id3 " if order == "little" else b"ID3 "
    whole = name + len(chunk).to_bytes(4, order) + chunk + bytes(len(chunk) % 2)
    content = content + whole if behind else content[:12] + whole + content[12:]
    return content[:4] + (len(content) - 8).to_bytes(4, order) + content[8:]


def tags(path):
    with open_song(path) as song:
        assert sum(block.shape[1] for block in song.blocks()) == 1000
        return song.tags


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("container", ["WAV", "AIFF"])
@pytest.mark.parametrize(
    ("version", "encoding", "codec"),
    [(2, 0, "latin-1"), (3, 0, "latin-1"), (3, 1, "utf-16"), (4, 3, "utf-8"), (4, 2, "utf-16-be")],
)
def test_the_words_of_an_id3_chunk(tmp_path, version, encoding, codec, container, behind):
    out = io.BytesIO()
    soundfile.write(out, noise(1000), 44100, format=container, subtype="PCM_16")
    (tmp_path / "x").write_bytes(with_chunk(out.getvalue(), id3(version, encoding, codec), behind))
    assert tags(tmp_path / "x") == WORDS
    with SongWriter(tmp_path / "y.wav", 44100, 1, Form("WAV", "PCM_16"), tags=tags(tmp_path / "x")) as stem:
        stem.write(noise(1000, 1).T)
    assert tags(tmp_path / "y.wav") == WORDS


def test_what_the_file_says_itself_comes_first(tmp_path):
    with soundfile.SoundFile(tmp_path / "x.wav", "w", 44100, 2) as file:
        file.title = "another"
        file.write(noise(1000))
    (tmp_path / "x.wav").write_bytes(with_chunk((tmp_path / "x.wav").read_bytes(), id3(4, 3, "utf-8"), behind=True))
    assert tags(tmp_path / "x.wav") == {**WORDS, "title": "another"}


@FFMPEG
def test_the_track_number_of_ffmpeg(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1000), 44100)
    run_ffmpeg("-i", tmp_path / "a.wav", "-metadata", "track=7", "-metadata", "title=T", tmp_path / "x.wav")
    assert tags(tmp_path / "x.wav") == {"title": "T", "tracknumber": "7"}


@pytest.mark.parametrize(
    "chunk",
    [b"", b"ID3", b"ID3\4\0\0\x7f\x7f\x7f\x7fTIT2\x7f\x7f\x7f\x7f\0\0\3", b"ID3\3\0\xff" + b"\xff" * 100, b"x" * 999],
)
def test_broken_chunks_are_passed_over(tmp_path, chunk):
    out = io.BytesIO()
    soundfile.write(out, noise(1000), 44100, format="WAV", subtype="PCM_16")
    (tmp_path / "x.wav").write_bytes(with_chunk(out.getvalue(), chunk, behind=True))
    assert tags(tmp_path / "x.wav") == {}
