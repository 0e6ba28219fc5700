"""Songs are read as they are, and stems written whole or not at all."""

from __future__ import annotations

import stat

import numpy as np
import pytest
import soundfile

from runtime.audio import read_song, resample, write_wav
from runtime.errors import AudioError


def tone(rate: int, seconds: float = 1.0, channels: int = 2) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)
    return np.stack([wave] * channels).astype(np.float32)


@pytest.mark.parametrize(("suffix", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.1), ("mp3", 0.1)])
@pytest.mark.parametrize("channels", [1, 2])
def test_reads_the_formats_songs_come_in(tmp_path, suffix, tolerance, channels):
    path = tmp_path / f"ünï cødé.{suffix}"
    soundfile.write(path, tone(44100, channels=channels).T, 44100)
    song = read_song(path)
    assert song.sample_rate == 44100 and song.audio.dtype == np.float32
    assert song.audio.shape == (channels, 44100)
    middle = slice(10000, 30000)
    assert np.abs(song.audio - tone(44100, channels=channels))[:, middle].max() <= tolerance


def test_what_is_not_audio_is_refused_in_words(tmp_path):
    cases = {
        "missing.wav": (None, "does not exist"),
        "empty.wav": (b"", "cannot be read as audio"),
        "text.wav": (b"hello, this is no song" * 20, "cannot be read as audio"),
        "text.mp3": (b"hello, this is no song" * 20, "cannot be read as audio"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(AudioError, match=f"{name}: {message}"):
            read_song(path)
    with pytest.raises(AudioError, match="is a folder"):
        read_song(tmp_path)
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), 44100)
    with pytest.raises(AudioError, match="holds no samples"):
        read_song(tmp_path / "none.wav")
    soundfile.write(tmp_path / "nan.wav", np.full((9, 2), np.nan), 44100, subtype="FLOAT")
    with pytest.raises(AudioError, match="holds NaN, Inf or samples beyond"):
        read_song(tmp_path / "nan.wav")


@pytest.mark.parametrize("target", [8000, 22050, 48000, 192000])
def test_resampling_keeps_a_tone_and_gives_the_length_asked_for(target):
    out = resample(tone(44100), 44100, target, samples=target)
    assert out.shape == (2, target) and out.dtype == np.float32
    middle = slice(target // 4, 3 * target // 4)
    assert np.abs(out - tone(target))[:, middle].max() < 1e-3


@pytest.mark.parametrize(("subtype", "step"), [("FLOAT", 0), ("PCM_24", 2**-23), ("PCM_16", 2**-15)])
def test_writes_the_subtype_asked_for(tmp_path, subtype, step):
    audio = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 1000)).astype(np.float32)
    assert write_wav(tmp_path / "x.wav", audio, 48000, subtype) == 0
    info = soundfile.info(tmp_path / "x.wav")
    assert (info.subtype, info.samplerate, info.channels, info.frames) == (subtype, 48000, 2, 1000)
    assert np.abs(read_song(tmp_path / "x.wav").audio - audio).max() <= step


def test_overshoot_is_kept_in_float_and_counted_when_clipped(tmp_path):
    audio = np.array([[0.5, 1.5, -2.0, 1.0]], np.float32)
    assert write_wav(tmp_path / "x.wav", audio, 44100, "FLOAT") == 0
    np.testing.assert_array_equal(read_song(tmp_path / "x.wav").audio, audio)
    assert write_wav(tmp_path / "y.wav", audio, 44100, "PCM_16") == 2
    np.testing.assert_allclose(read_song(tmp_path / "y.wav").audio, [[0.5, 1, -1, 1]], atol=1e-4)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "x.wav"
    target.write_bytes(b"earlier")

    def full(file, *args, **kwargs):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(AudioError, match=r"x\.wav: cannot be written \(.*No space left"):
        write_wav(target, tone(44100), 44100, "FLOAT")
    assert target.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(AudioError, match="cannot be written"):
        write_wav(tmp_path / "no such folder" / "x.wav", tone(44100), 44100, "FLOAT")


def test_written_files_have_ordinary_permissions(tmp_path):
    write_wav(tmp_path / "x.wav", tone(8000, 0.1), 8000, "FLOAT")
    (tmp_path / "y").touch()
    assert stat.S_IMODE((tmp_path / "x.wav").stat().st_mode) == stat.S_IMODE((tmp_path / "y").stat().st_mode)
