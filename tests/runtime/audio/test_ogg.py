"""Ogg files: chains of streams, the order of channels, damage and missing ends."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import encoded, noise, numbers, read, tones

from runtime.audio import open_song, reader
from runtime.audio.speakers import VORBIS_ORDER
from runtime.errors import AudioError

CODECS = {"VORBIS": 44100, "OPUS": 48000}


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(reader, "ffmpeg_installed", lambda: False)


def stream(codec, samples=20_000, channels=2, rate=None, seed=0):
    return encoded(0.3 * noise(samples, channels, seed), rate or CODECS[codec], "OGG", codec)


def pages(content):
    """The pages of an Ogg file that holds no page's mark inside of one."""
    starts = [at for at in range(len(content)) if content[at : at + 5] == b"OggS\0"]
    return [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("links", [2, 3, 20])
def test_all_streams_of_a_chain_are_one_song(tmp_path, codec, links):
    lengths = [5000 + 777 * k for k in range(links)]
    parts = []
    for k, length in enumerate(lengths):
        (tmp_path / "part").write_bytes(stream(codec, length, seed=k))
        parts.append(read(tmp_path / "part")[0])
    path = tmp_path / "x"
    path.write_bytes(b"".join(stream(codec, length, seed=k) for k, length in enumerate(lengths)))
    with open_song(path) as song:
        assert song.samples == sum(lengths)
    audio, notes = read(path)
    np.testing.assert_array_equal(audio, np.concatenate(parts, axis=1))
    assert len(notes) == 1 and f"chain of {links} streams" in notes[0]


def test_streams_of_other_rates_and_channels_are_converted_to_those_of_the_first(tmp_path):
    path = tmp_path / "x"
    sound = [encoded(tones(c, rate), rate, "OGG", "VORBIS") for c, rate in ((2, 44100), (1, 22050), (2, 48000))]
    path.write_bytes(b"".join(sound))
    audio, notes = read(path)
    assert audio.shape == (2, 3 * 44100)
    assert [numbers(part, 44100) for part in np.split(audio, 3, axis=1)] == [[1, 2], [1, 1], [1, 2]]
    assert any("22050 Hz, 48000 Hz" in note and "44100 Hz" in note for note in notes)


def test_channels_that_cannot_be_converted_are_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(stream("VORBIS") + stream("VORBIS", channels=6))
    with pytest.raises(AudioError, match="x: a chain of streams with 2 and 6 channels"):
        read(path)


@pytest.mark.parametrize("codec", CODECS)
def test_a_chain_whose_last_stream_is_cut_is_refused(tmp_path, codec):
    path = tmp_path / "x"
    path.write_bytes((stream(codec) + stream(codec, seed=1))[:-500])
    with pytest.raises(AudioError, match="x: the file is incomplete or damaged: its last page is not whole"):
        read(path)


@pytest.mark.parametrize("channels", range(3, 9))
@pytest.mark.parametrize("codec", CODECS)
def test_channels_come_in_the_order_of_wav(tmp_path, codec, channels):
    """libsndfile writes and reads channels as they are; in the file their order is that of Vorbis."""
    rate = CODECS[codec]
    path = tmp_path / "x"
    path.write_bytes(encoded(tones(channels, rate)[:, VORBIS_ORDER[channels]], rate, "OGG", codec))
    assert numbers(read(path)[0], rate) == list(range(1, channels + 1))


@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_page_is_named(tmp_path, codec):
    content = bytearray(stream(codec))
    content[len(content) // 2] ^= 1
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(AudioError, match=r"x: the file is incomplete or damaged: the page at byte \d+ is damaged: get"):
        read(tmp_path / "x")


def test_without_the_mark_of_the_last_page_there_may_be_more(tmp_path):
    content = stream("VORBIS", 100_000)
    (tmp_path / "x").write_bytes(b"".join(pages(content)[:-1]))
    audio, notes = read(tmp_path / "x")
    assert 50_000 < audio.shape[1] < 100_000
    assert len(notes) == 1 and "not marked as the last" in notes[0]


def test_pages_that_are_missing_are_told(tmp_path):
    content = pages(stream("VORBIS", 200_000))
    (tmp_path / "x").write_bytes(b"".join(content[:6] + content[8:]))
    audio, notes = read(tmp_path / "x")
    assert audio.shape[1] < 200_000
    assert len(notes) == 1 and "pages are missing at 1 place" in notes[0]


def test_what_is_between_and_behind_pages_is_left_out(tmp_path):
    content = stream("VORBIS")
    expected = read(_written(tmp_path / "whole", content))[0]
    for behind in (b"TAG" + bytes(125), bytes(3000)):
        audio, notes = read(_written(tmp_path / "x", content + behind))
        np.testing.assert_array_equal(audio, expected)
        assert notes == []
    audio, notes = read(_written(tmp_path / "x", content + b"something else" * 100))
    np.testing.assert_array_equal(audio, expected)
    assert len(notes) == 1 and "1400 bytes" in notes[0]


def test_the_middle_of_a_stream_is_none(tmp_path):
    path = _written(tmp_path / "x", b"".join(pages(stream("VORBIS", 100_000))[2:]))
    with pytest.raises(AudioError, match="x: cannot be read as audio .*without the beginning"):
        read(path)


def _written(path, content):
    path.write_bytes(content)
    return path
