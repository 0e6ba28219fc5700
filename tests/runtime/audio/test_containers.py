"""Sizes that containers declare of the whole file, and lengths that they declare wrongly."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sounds import FFMPEG, encoded, noise, read, run_ffmpeg

from runtime.audio import reader
from runtime.errors import AudioError

RATE = 44100
BODY = bytes(5000)
# What begins a file whose size is in its header, by the size of the file.
HEADERS = {
    "DSF": lambda size: b"DSD " + (28).to_bytes(8, "little") + size.to_bytes(8, "little") + bytes(8),
    "DSDIFF": lambda size: b"FRM8" + (size - 12).to_bytes(8, "big") + b"DSD ",
    "MAUD": lambda size: b"FORM" + (size - 8).to_bytes(4, "big") + b"MAUD",
    "SMAF": lambda size: b"MMMD" + (size - 8).to_bytes(4, "big"),
    "AVI": lambda size: b"RIFF" + (size - 8).to_bytes(4, "little") + b"AVI ",
    "xWMA": lambda size: b"RIFF" + (size - 8).to_bytes(4, "little") + b"XWMA",
    "VOC": lambda size: b"Creative Voice File\x1a\x1a\0\x0a\x01\x29\x11\x09" + (size - 30).to_bytes(3, "little"),
}


@pytest.fixture
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(reader, "ffmpeg_installed", lambda: False)


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("missing", [20, 3000])
def test_less_than_a_container_declares_is_refused(tmp_path, no_ffmpeg, name, missing):
    header = HEADERS[name](5000)
    (tmp_path / "x").write_bytes((header + BODY)[: 5000 - missing])
    with pytest.raises(AudioError, match=f"x: the file is incomplete: .*5000 bytes.*{5000 - missing}: get"):
        read(tmp_path / "x")


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("more", [-5, 0, 300])
def test_what_is_as_long_as_declared_or_longer_is_not_called_incomplete(tmp_path, no_ffmpeg, name, more):
    (tmp_path / "x").write_bytes((HEADERS[name](5000) + BODY)[:5000] + bytes(max(0, more)))
    try:
        read(tmp_path / "x")
    except AudioError as error:
        assert "incomplete" not in str(error)


@pytest.mark.parametrize("name", ["DSF", "DSDIFF", "AVI", "SMAF"])
@pytest.mark.parametrize("size", ["zero", "most"])
def test_a_size_that_is_not_known_is_none(tmp_path, no_ffmpeg, name, size):
    header = HEADERS[name](5000)
    width = 8 if name in ("DSF", "DSDIFF") else 4
    at = 12 if name == "DSF" else 4
    header = header[:at] + (b"\0" if size == "zero" else b"\xff") * width + header[at + width :]
    (tmp_path / "x").write_bytes(header + BODY)
    with pytest.raises(AudioError) as caught:
        read(tmp_path / "x")
    assert "incomplete" not in str(caught.value)


@FFMPEG
def test_an_avi_file_of_several_chunks_is_whole_or_not(tmp_path):
    (tmp_path / "song.wav").write_bytes(encoded(noise(RATE), RATE, "WAV", "PCM_16"))
    run_ffmpeg("-i", tmp_path / "song.wav", "-c:a", "pcm_s16le", tmp_path / "one.avi")
    more = b"RIFF" + (4012).to_bytes(4, "little") + b"AVIX" + b"JUNK" + (4000).to_bytes(4, "little") + bytes(4000)
    (tmp_path / "x").write_bytes((tmp_path / "one.avi").read_bytes() + more)
    np.testing.assert_array_equal(read(tmp_path / "x")[0].T, noise(RATE).astype(np.float32))
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-100])
    with pytest.raises(AudioError, match="x: the file is incomplete"):
        read(tmp_path / "x")


@FFMPEG
@pytest.mark.parametrize("factor", [0.5, 3])
def test_an_avi_file_with_a_wrong_length_is_read_to_its_end(tmp_path, factor):
    (tmp_path / "song.wav").write_bytes(encoded(noise(2 * RATE), RATE, "WAV", "PCM_16"))
    run_ffmpeg("-i", tmp_path / "song.wav", "-c:a", "pcm_s16le", tmp_path / "x.avi")
    content = bytearray((tmp_path / "x.avi").read_bytes())
    at = content.index(b"strh") + 8 + 32  # dwLength of the stream
    content[at : at + 4] = int(int.from_bytes(content[at : at + 4], "little") * factor).to_bytes(4, "little")
    (tmp_path / "x.avi").write_bytes(content)
    audio, _ = read(tmp_path / "x.avi")
    np.testing.assert_array_equal(audio.T, noise(2 * RATE).astype(np.float32))


def test_a_voc_block_whose_size_sox_has_miscounted_is_one_block(tmp_path, no_ffmpeg):
    """In blocks of 16 bits the size is 8 bytes too small."""
    sound = noise(1000, 1)
    content = encoded(sound, 48000, "VOC", "PCM_16")
    assert content[26] == 9
    size = int.from_bytes(content[27:30], "little") - 8
    (tmp_path / "x").write_bytes(content[:27] + size.to_bytes(3, "little") + content[30:])
    audio, notes = read(tmp_path / "x")
    np.testing.assert_array_equal(audio.T, sound.astype(np.float32))
    assert notes == []


@FFMPEG
def test_a_format_that_is_not_accepted_is_called_so(tmp_path):
    (tmp_path / "x").write_text("ffconcat version 1.0\nfile secret.wav\n")
    with pytest.raises(AudioError, match=r"x: cannot be read as audio .*ffmpeg: a format that is not accepted\)"):
        read(tmp_path / "x")


@FFMPEG
def test_the_reason_of_ffmpeg_is_the_line_that_says_something(tmp_path):
    (tmp_path / "song.wav").write_bytes(encoded(noise(RATE), RATE, "WAV", "PCM_16"))
    run_ffmpeg("-i", tmp_path / "song.wav", "-c:a", "aac", tmp_path / "x.m4a")
    content = (tmp_path / "x.m4a").read_bytes()
    (tmp_path / "x.m4a").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match="moov atom not found") as caught:
        read(tmp_path / "x.m4a")
    assert not re.search(r"0x[0-9a-f]{6}", str(caught.value))
