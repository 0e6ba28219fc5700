"""`open_song`: what is read, block by block, is the song; what cannot be is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.audio import open_song
from runtime.audio import reader as reader_module
from runtime.errors import AudioError

RNG = np.random.default_rng(0)
NOISE = (0.3 * RNG.standard_normal((30000, 2))).clip(-1, 1)


def read(path, size=1 << 16):
    with open_song(path) as song:
        return np.concatenate(list(song.blocks(size)), axis=1)


@pytest.fixture
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(reader_module, "ffmpeg_installed", lambda: False)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAV", "ULAW"),
        ("WAVEX", "PCM_24"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_24"),
        ("FLAC", "PCM_24"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "ALAC_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_blocks_make_up_the_song_as_libsndfile_reads_it_at_once(tmp_path, container, subtype):
    path = tmp_path / "a song by any other name.txt"
    soundfile.write(path, NOISE, 48000, format=container, subtype=subtype)
    expected, _ = soundfile.read(os.fsencode(path), dtype="float64", always_2d=True)
    with open_song(path) as song:
        assert (song.sample_rate, song.channels, song.samples) == (48000, 2, 30000)
        assert (song.form.format, song.form.subtype) == (container, subtype)
        blocks = list(song.blocks(7001))
    assert [block.shape for block in blocks] == [(2, 7001)] * 4 + [(2, 1996)]
    assert {block.dtype.name for block in blocks} == {"float64" if subtype in ("PCM_32", "DOUBLE") else "float32"}
    np.testing.assert_allclose(np.concatenate(blocks, axis=1).T, expected, atol=1e-7)


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 96000, 192000, 768000])
def test_rates(tmp_path, rate):
    soundfile.write(tmp_path / "x.wav", NOISE, rate)
    with open_song(tmp_path / "x.wav") as song:
        assert song.sample_rate == rate


@pytest.mark.parametrize("samples", [[[0.25]], [[0.0, 0.0]] * 5000, [[1.0, -1.0]] * 5000])
def test_one_sample_silence_and_dc_are_songs(tmp_path, samples):
    soundfile.write(tmp_path / "x.wav", np.array(samples), 44100, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "x.wav"), np.array(samples).T)


def test_many_channels_come_in_smaller_blocks(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros((3000, 1024), np.float32), 44100, subtype="PCM_16")
    with open_song(tmp_path / "x.wav") as song:
        assert max(block.size for block in song.blocks()) <= 1 << 20


def test_what_is_no_song_is_refused_in_words(tmp_path, no_ffmpeg):
    cases = {
        "empty.wav": (b"", r"is empty \(0 bytes\): expected a song"),
        "text.wav": (
            b"hello, this is no song" * 20,
            "cannot be read as audio .*: convert it to WAV, or install ffmpeg",
        ),
        "text.mp3": (b"hello, this is no song" * 20, "cannot be read as audio"),
        "text.gsm": (b"hello, this is no song" * 20, "cannot be read as audio"),
        "text.raw": (b"hello, this is no song" * 20, "cannot be read as audio"),
        "text.vox": (b"hello, this is no song" * 20, "cannot be read as audio"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioError, match=f"{name}: {message}"):
            read(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.wav")
    for path, message in [
        (tmp_path, "is a folder: expected a song"),
        (tmp_path / "none.wav", "does not exist"),
        (tmp_path / "pipe.wav", "is not a file"),
        (tmp_path / ("x" * 300), "cannot be read .File name too long"),
        (tmp_path / "nul\0.wav", "cannot be read .*null"),
    ]:
        with pytest.raises(AudioError, match=message):
            read(path)


def test_unreadable_for_this_user(tmp_path):
    soundfile.write(tmp_path / "x.wav", NOISE, 44100)
    (tmp_path / "x.wav").chmod(0)
    user = os.geteuid()
    if user == 0:  # who reads everything
        os.seteuid(65534)
    try:
        with pytest.raises(AudioError, match=r"x\.wav: cannot be read \(Permission denied\)"):
            open_song(tmp_path / "x.wav")
    finally:
        os.seteuid(user)


def test_a_song_without_samples(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros((0, 2)), 44100)
    with pytest.raises(AudioError, match=r"x\.wav: holds no samples"):
        read(tmp_path / "x.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e10])
def test_bad_samples_are_named_with_their_second(tmp_path, value):
    audio = np.zeros((20000, 2), np.float32)
    audio[12000, 1] = value
    soundfile.write(tmp_path / "x.wav", audio, 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"x\.wav: holds NaN, Inf or samples beyond 1e\+09 at 1\.500 s: repair"):
        read(tmp_path / "x.wav", 1000)


@pytest.mark.parametrize("rate", [1, 999, 768001, 2**31 - 1])
def test_absurd_rates(tmp_path, rate):
    soundfile.write(tmp_path / "x.wav", NOISE[:10], rate)
    with pytest.raises(AudioError, match=f"sample rate of {rate} Hz: expected 1000 to 768000"):
        open_song(tmp_path / "x.wav")


@pytest.mark.parametrize("part", [0.3, 0.5, 0.77, 0.99])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_a_file_that_is_cut_off_is_never_taken_for_the_whole_song(tmp_path, no_ffmpeg, container, subtype, part):
    soundfile.write(tmp_path / "whole", NOISE, 48000, format=container, subtype=subtype)
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[: round(part * len(content))])
    with pytest.raises(AudioError, match="cut: (the file is incomplete|is cut off|cannot be read as audio)"):
        read(tmp_path / "cut")


def test_what_a_song_lacks_of_the_length_it_declares_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", NOISE, 44100)
    with open_song(tmp_path / "a.wav") as song:
        song._source.samples = 30200  # as a file with a frame inside that cannot be decoded
        with pytest.raises(AudioError, match=r"damaged: 0\.0045 s of the 0\.7 s that it declares cannot be read"):
            list(song.blocks())


def test_a_wav_from_a_pipe_has_no_true_length_and_is_read_to_its_end(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, NOISE, 48000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    data = content.index(b"data") + 4
    for size in (0xFFFFFFFF, 0x7FFFF000):
        content[data : data + 4] = size.to_bytes(4, "little")
        path.write_bytes(content)
        assert read(path).shape == (2, 30000)


def test_tags(tmp_path):
    path = tmp_path / "x.flac"
    with soundfile.SoundFile(path, "w", 44100, 2) as file:
        file.title, file.artist, file.software, file.comment = "Tïtle", "A. Rtist", "some editor", "x" * 5000
        file.write(NOISE)
    with open_song(path) as song:
        assert song.tags == {"title": "Tïtle", "artist": "A. Rtist"}


def test_names_that_are_no_text(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(tmp_path / "x.wav", NOISE, 44100)
    (tmp_path / "x.wav").rename(path)
    assert read(path).shape == (2, 30000)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to see the open files")
def test_read_and_refused_files_are_closed(tmp_path, no_ffmpeg):
    soundfile.write(tmp_path / "good.wav", NOISE, 44100)
    (tmp_path / "bad.wav").write_bytes(b"RIFF no")
    before = len(list(Path("/proc/self/fd").iterdir()))
    song = open_song(tmp_path / "good.wav")
    song.close()
    song.close()
    with pytest.raises(AudioError):
        open_song(tmp_path / "bad.wav")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
