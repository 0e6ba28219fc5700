"""WAV, AIFF and W64 files that are whole and not quite as the formats have it, and WAV files with other codecs."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import FFMPEG, encoded, noise, read, run_ffmpeg

from runtime.audio import open_song, reader
from runtime.errors import AudioError

SAMPLES = 5000
SOUND = noise(SAMPLES)
WAV = encoded(SOUND, 48000, "WAV", "PCM_16")
AIFF = encoded(SOUND, 48000, "AIFF", "PCM_16")
FILES = {"WAV": (WAV, b"data", "little"), "AIFF": (AIFF, b"SSND", "big")}
ID3 = b"ID3\x04\0\0\0\0\0\x20" + b"TIT2\0\0\0\x05\0\0\x03song" + bytes(17)


@pytest.fixture
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(reader, "ffmpeg_installed", lambda: False)


def written(folder, content):
    path = folder / "x"
    path.write_bytes(content)
    return path


def exactly(path):
    audio, notes = read(path)
    np.testing.assert_array_equal(audio.T, SOUND.astype(np.float32))
    return notes


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("sizes", [[3], [4, 3], [3, 5], [1, 2, 3]])
@pytest.mark.parametrize("padded", [True, False])
def test_chunks_of_an_odd_size_may_lack_the_byte_that_pads_them(tmp_path, no_ffmpeg, name, sizes, padded):
    content, mark, order = FILES[name]
    chunks = [b"junk" + size.to_bytes(4, order) + b"x" * size + b"\0" * (size % 2 and padded) for size in sizes]
    assert exactly(written(tmp_path, content.replace(mark, b"".join(chunks) + mark, 1))) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("tags", [ID3, ID3 + ID3])
def test_a_tag_in_front_is_passed_over(tmp_path, no_ffmpeg, name, tags):
    assert exactly(written(tmp_path, tags + FILES[name][0])) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("missing", [4, 40, 400, 4000])
def test_behind_a_tag_a_missing_end_is_seen_as_well(tmp_path, no_ffmpeg, name, missing):
    path = written(tmp_path, ID3 + FILES[name][0][:-missing])
    with pytest.raises(AudioError, match=r"x: the file is incomplete: .*\d+ bytes.*: get the complete file"):
        read(path)


@pytest.mark.parametrize("size", [len(WAV), len(WAV) - 8])
def test_a_header_that_counts_itself_is_told(tmp_path, no_ffmpeg, size):
    content = WAV[:40] + size.to_bytes(4, "little") + WAV[44:]
    notes = exactly(written(tmp_path, content))
    assert len(notes) == 1 and f"counts itself as sound ({size - len(WAV) + 44} bytes)" in notes[0]


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_stream_that_ends_within_a_sample_is_told(tmp_path, no_ffmpeg, size, missing):
    content = WAV[:40] + size.to_bytes(4, "little") + WAV[44:-missing]
    audio, notes = read(written(tmp_path, content))
    np.testing.assert_array_equal(audio.T, SOUND[:-1].astype(np.float32))
    assert len(notes) == 1 and f"not whole ({missing} byte" in notes[0]


@pytest.mark.parametrize("samples", [5000, 5001])
def test_a_byte_that_pads_a_stream_is_no_sample(tmp_path, no_ffmpeg, samples):
    sound = noise(samples, 1)
    content = bytearray(encoded(sound, 48000, "WAV", "PCM_24"))
    content[40:44] = b"\xff" * 4
    audio, notes = read(written(tmp_path, content))
    np.testing.assert_array_equal(audio.T, sound.astype(np.float32))
    assert notes == []


@pytest.mark.parametrize(("channels", "subtype"), [(1, "PCM_U8"), (1, "PCM_16"), (2, "PCM_16"), (1, "PCM_24")])
@pytest.mark.parametrize("samples", range(1000, 1008))
def test_w64_has_the_samples_that_it_declares_and_not_its_padding(tmp_path, no_ffmpeg, channels, subtype, samples):
    content = encoded(noise(samples, channels), 48000, "W64", subtype)
    at = content.index(b"data")
    block = channels * {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3}[subtype]
    size = (24 + samples * block).to_bytes(8, "little")
    whole = content[: at + 16] + size + content[at + 24 : at + 24 + samples * block]
    padded = whole + bytes(-len(whole) % 8)
    audio, notes = read(written(tmp_path, padded))
    assert audio.shape == (channels, samples) and notes == []


@pytest.mark.parametrize("name", FILES)
def test_more_samples_in_a_second_chunk_are_told(tmp_path, no_ffmpeg, name):
    content, mark, _ = FILES[name]
    path = written(tmp_path, content + content[content.index(mark) :])
    assert "follow the end of the sound" in " ".join(exactly(path))


@FFMPEG
@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_mpeg_audio_in_wav_is_read_to_its_last_frame(tmp_path, codec):
    """libsndfile gives fewer samples than it says."""
    (tmp_path / "song.wav").write_bytes(encoded(0.3 * noise(44100), 44100, "WAV", "PCM_16"))
    run_ffmpeg("-i", tmp_path / "song.wav", "-c:a", codec, "-b:a", "192k", tmp_path / "x.wav")
    assert 44100 <= read(tmp_path / "x.wav")[0].shape[1] <= 44100 + 3 * 1152
    content = (tmp_path / "x.wav").read_bytes()
    with pytest.raises(AudioError, match="the file is incomplete"):
        read(written(tmp_path, content[: len(content) // 2]))


@FFMPEG
@pytest.mark.parametrize("zeros", [0, 4000])
def test_dts_in_the_samples_of_a_wav_file_is_not_read_as_noise(tmp_path, zeros):
    (tmp_path / "song.wav").write_bytes(encoded(np.zeros((44100, 2)), 44100, "WAV", "PCM_16"))
    options = ["-c:a", "dca", "-strict", "-2", "-b:a", "1411200", "-f", "spdif"]
    run_ffmpeg("-i", tmp_path / "song.wav", *options, tmp_path / "x.dts")
    frames = np.frombuffer(bytes(zeros) + (tmp_path / "x.dts").read_bytes(), "<i2").reshape(-1, 2)
    path = written(tmp_path, encoded(frames, 44100, "WAV", "PCM_16"))
    audio, _ = read(path)
    assert audio.shape[1] >= 44100 and np.abs(audio).max() < 1e-3


def test_without_ffmpeg_it_is_named(tmp_path, no_ffmpeg):
    frames = np.frombuffer(b"\xfe\x7f\x01\x80" + bytes(4000), "<i2").reshape(-1, 2)
    with pytest.raises(AudioError, match=r"x: cannot be read as audio \(a WAV file with MPEG audio or DTS"):
        open_song(written(tmp_path, encoded(frames, 44100, "WAV", "PCM_16")))
