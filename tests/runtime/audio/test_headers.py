"""Sizes in headers: those of pipes and of recordings that were broken off, and what lies behind a declared end."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import encoded, noise, read

from runtime.audio import reader
from runtime.errors import AudioError

SAMPLES = 5000
SOUND = noise(SAMPLES)
CHUNK = b"LIST\x0e\0\0\0INFOISFT\x02\0\0\0ab"
# name -> (container, subtype, [(bytes before a size, offset behind them, width)], byte order)
FILES = {
    "wav": ("WAV", "PCM_16", [(b"RIFF", 0, 4), (b"data", 0, 4)], "little"),
    "wavex": ("WAVEX", "PCM_24", [(b"RIFF", 0, 4), (b"data", 0, 4)], "little"),
    "float": ("WAV", "FLOAT", [(b"RIFF", 0, 4), (b"data", 0, 4)], "little"),
    "rf64": ("RF64", "PCM_16", [(b"ds64", 4, 8), (b"ds64", 12, 8)], "little"),
    "w64": ("W64", "PCM_16", [(b"data", 12, 8)], "little"),
    "aiff": ("AIFF", "PCM_16", [(b"FORM", 0, 4), (b"SSND", 0, 4)], "big"),
    "aifc": ("AIFF", "FLOAT", [(b"FORM", 0, 4), (b"SSND", 0, 4)], "big"),
    "caf": ("CAF", "PCM_16", [(b"data", 0, 8)], "big"),
    "au": ("AU", "PCM_16", [(b".snd", 4, 4)], "big"),
}
SIZES = {
    "0": (0, 0),
    "0x7F": (0x7F000008, 0x7F000008),
    "0x7FFF": (0x7FFFF000, 0x7FFFFFFFFFFFFFFF),
    "0x80000000": (0x80000000, 0x80000000),
    "0xFFFFFFFF": (0xFFFFFFFF, 0xFFFFFFFF),
    "-1": ((1 << 32) - 1, (1 << 64) - 1),
}


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(reader, "ffmpeg_installed", lambda: False)


def file(name):
    container, subtype, _, _ = FILES[name]
    return encoded(SOUND, 48000, container, subtype)


def with_sizes(content, name, narrow, wide):
    """`content` with every size replaced by `narrow`, or `wide` where it has 64 bits."""
    _, _, sizes, order = FILES[name]
    changed = bytearray(content)
    for before, offset, width in sizes:
        at = content.index(before) + len(before) + offset
        changed[at : at + width] = (wide if width == 8 else narrow).to_bytes(width, order)
    if name in ("aiff", "aifc") and narrow in (0, 0x7F000008):  # the number of frames is not known either
        at = content.index(b"COMM") + 10
        changed[at : at + 4] = bytes(4)
    return bytes(changed)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FILES)
def test_a_size_that_was_not_known_means_to_the_end_of_the_file(tmp_path, name, size):
    path = tmp_path / "x"
    path.write_bytes(with_sizes(file(name), name, *SIZES[size]))
    audio, notes = read(path)
    np.testing.assert_array_equal(audio.T, SOUND.astype(np.float32))
    assert notes == []


@pytest.mark.parametrize("name", FILES)
def test_a_recording_that_was_broken_off_within_a_sample_is_read_up_to_it(tmp_path, name):
    path = tmp_path / "x"
    path.write_bytes(with_sizes(file(name), name, 0, 0)[:-3])
    audio, _ = read(path)
    np.testing.assert_array_equal(audio.T, SOUND[:-1].astype(np.float32))


@pytest.mark.parametrize("name", ["wav", "wavex", "float"])
def test_chunks_behind_sound_of_unknown_size_are_no_sound(tmp_path, name):
    path = tmp_path / "x"
    path.write_bytes(with_sizes(file(name), name, 0x7FFF0000, 0) + CHUNK)
    assert read(path)[0].shape == (2, SAMPLES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("missing", [8, 3000])
def test_a_file_that_lacks_more_than_a_part_of_its_last_sample_is_refused(tmp_path, name, missing):
    path = tmp_path / "x"
    path.write_bytes(file(name)[:-missing])
    with pytest.raises(AudioError, match=r"x: the file is incomplete: .*\d+ bytes.*: get the complete file"):
        read(path)


@pytest.mark.parametrize("name", FILES)
def test_a_last_sample_that_lacks_a_byte_is_left_out_with_a_note(tmp_path, name):
    path = tmp_path / "x"
    path.write_bytes(file(name)[:-1])
    audio, notes = read(path)
    np.testing.assert_array_equal(audio.T, SOUND[:-1].astype(np.float32))
    assert len(notes) == 1 and "1 byte missing" in notes[0]


@pytest.mark.parametrize("name", ["wav", "rf64", "w64", "aiff", "caf", "au"])
def test_what_lies_behind_the_declared_end_is_told(tmp_path, name):
    """A recorder that writes its header from time to time, and was killed."""
    half = encoded(SOUND[: SAMPLES // 2], 48000, *FILES[name][:2])
    path = tmp_path / "x"
    path.write_bytes(half + noise(1000, seed=1).astype("<f4").tobytes())
    audio, notes = read(path)
    assert audio.shape == (2, SAMPLES // 2)
    assert len(notes) == 1 and "8000 bytes follow the end" in notes[0]


@pytest.mark.parametrize("behind", [CHUNK, CHUNK + b"id3 \x04\0\0\0abcd", bytes(5000)])
def test_chunks_and_zeros_behind_the_sound_are_nothing_to_speak_of(tmp_path, behind):
    path = tmp_path / "x"
    path.write_bytes(encoded(SOUND, 48000, "WAV", "PCM_16") + behind)
    audio, notes = read(path)
    assert audio.shape == (2, SAMPLES) and notes == []


def test_an_empty_file_with_chunks_holds_no_samples(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(encoded(SOUND[:0], 48000, "WAV", "PCM_16") + CHUNK)
    with pytest.raises(AudioError, match=r"x\.wav: holds no samples"):
        read(path)


def test_joined_wav_files_are_not_taken_for_one(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(2 * encoded(SOUND, 48000, "WAV", "PCM_16"))
    audio, notes = read(path)
    assert audio.shape == (2, SAMPLES)
    assert len(notes) == 1 and "follow the end" in notes[0]


def test_a_voc_file_of_several_blocks_is_not_read_as_one(tmp_path):
    """libsndfile takes the headers of blocks for samples."""
    content = encoded(noise(1000, 1), 48000, "VOC", "PCM_16")
    path = tmp_path / "x.voc"
    path.write_bytes(content)
    assert read(path)[0].shape == (1, 1000)
    path.write_bytes(content[:-1] + content[26:])
    with pytest.raises(AudioError, match="VOC file of more than one block"):
        read(path)
