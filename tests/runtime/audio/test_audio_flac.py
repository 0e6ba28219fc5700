"""FLAC files as programs write them: without a length, with a wrong one, with other things behind their end."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import soundfile
from sounds import encoded, noise, read

from runtime.audio import form_for, open_song, reader
from runtime.errors import AudioError

SAMPLES = 100_000
SOUND = noise(SAMPLES)
WHOLE = encoded(SOUND, 44100, "FLAC", "PCM_16")
ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + (2000).to_bytes(4, "little") + (32).to_bytes(4, "little") + bytes(16)
ID3V2 = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(reader, "ffmpeg_installed", lambda: False)


def with_length(content, samples):
    """`content` with another number of samples in its STREAMINFO."""
    at = content.index(b"fLaC") + 18
    packed = int.from_bytes(content[at : at + 8], "big") >> 36 << 36 | samples
    return content[:at] + packed.to_bytes(8, "big") + content[at + 8 :]


@pytest.mark.parametrize("front", [b"", ID3V2])
@pytest.mark.parametrize("behind", [b"", ID3V1, APE, APE + ID3V1, bytes(4096), bytes(4096) + ID3V1])
@pytest.mark.parametrize("samples", [SAMPLES, 0])
def test_with_and_without_a_length_all_of_it_is_read(tmp_path, front, behind, samples):
    path = tmp_path / "x"
    path.write_bytes(front + with_length(WHOLE, samples) + behind)
    with open_song(path) as song:
        assert song.samples == (samples or None)
        assert form_for(song.form).suffix == ".flac"
    audio, notes = read(path)
    np.testing.assert_array_equal(audio.T, SOUND.astype(np.float32))
    assert notes == []


def test_more_than_it_declares_is_read_with_a_note(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(with_length(WHOLE, 60_000))
    audio, notes = read(path)
    np.testing.assert_array_equal(audio.T, SOUND.astype(np.float32))
    assert len(notes) == 1 and "declares 60000 samples" in notes[0] and "100000" in notes[0]


@pytest.mark.parametrize("content", [with_length(WHOLE, 120_000), WHOLE[: len(WHOLE) // 2]])
def test_less_than_it_declares_is_refused(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(AudioError, match="x: the file is incomplete or damaged"):
        read(path)


def test_a_recording_that_was_broken_off_is_read_up_to_its_last_whole_frame(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(with_length(WHOLE, 0)[: len(WHOLE) // 2])
    audio, notes = read(path)
    assert 0.4 * SAMPLES < audio.shape[1] < 0.6 * SAMPLES
    np.testing.assert_array_equal(audio.T, SOUND[: audio.shape[1]].astype(np.float32))
    assert len(notes) == 1 and "decoding stopped after" in notes[0]


def test_damage_in_the_middle_is_no_end(tmp_path):
    path = tmp_path / "x"
    long = encoded(np.tile(SOUND, (6, 1)), 44100, "FLAC", "PCM_16")
    middle = len(long) // 2
    path.write_bytes(with_length(long, 0)[:middle] + bytes(20000) + long[middle + 20000 :])
    with pytest.raises(AudioError, match="x: the file is incomplete or damaged"):
        read(path)


@pytest.mark.parametrize("behind", [WHOLE, np.random.default_rng(1).bytes(5000)])
def test_what_follows_the_end_is_told(tmp_path, behind):
    path = tmp_path / "x"
    path.write_bytes(WHOLE + behind)
    audio, notes = read(path)
    np.testing.assert_array_equal(audio.T, SOUND.astype(np.float32))
    assert len(notes) == 1 and "follows the end" in notes[0]


@pytest.mark.needs("flac")
def test_32_bits_are_named_and_not_called_damaged(tmp_path):
    soundfile.write(tmp_path / "x.wav", SOUND, 44100, subtype="PCM_32")
    done = subprocess.run(["flac", "-s", tmp_path / "x.wav", "-o", tmp_path / "x.flac"], check=False)
    if done.returncode:
        pytest.skip("this flac does not know 32 bits")
    with pytest.raises(AudioError, match=r"x\.flac: .*FLAC of 32 bits") as caught:
        read(tmp_path / "x.flac")
    assert "incomplete" not in str(caught.value) and "damaged" not in str(caught.value)
