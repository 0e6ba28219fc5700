"""Whole songs in memory, and the forms stems take."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from runtime.audio import FORMATS, Form, check_form, form_for, read_song, resample
from runtime.errors import OptionError


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


@pytest.mark.parametrize("target", [8000, 22050, 48000, 192000])
def test_resampling_keeps_a_tone_and_gives_the_length_asked_for(target):
    out = resample(tone(44100), 44100, target, samples=target)
    assert out.shape == (2, target) and out.dtype == np.float32
    middle = slice(target // 4, 3 * target // 4)
    assert np.abs(out - tone(target))[:, middle].max() < 1e-3


@pytest.mark.parametrize(
    ("song", "asked", "stem"),
    [
        (("WAV", "PCM_24"), (None, None), ("WAV", "PCM_24")),
        (("WAVEX", "PCM_U8"), (None, None), ("WAV", "PCM_U8")),
        (("RF64", "DOUBLE"), (None, None), ("WAV", "DOUBLE")),
        (("FLAC", "PCM_S8"), (None, None), ("FLAC", "PCM_S8")),
        (("FLAC", "PCM_24"), (None, None), ("FLAC", "PCM_24")),
        (("AIFF", "PCM_S8"), (None, None), ("WAV", "PCM_U8")),
        (("CAF", "ALAC_20"), (None, None), ("WAV", "PCM_24")),
        (("MP3", "MPEG_LAYER_III"), (None, None), ("WAV", "FLOAT")),
        (("OGG", "VORBIS"), (None, None), ("WAV", "FLOAT")),
        (("WAV", "ULAW"), (None, None), ("WAV", "FLOAT")),
        (("FFMPEG", "AAC"), (None, None), ("WAV", "FLOAT")),
        (("FFMPEG", "PCM_16"), (None, None), ("WAV", "PCM_16")),
        (("WAV", "FLOAT"), ("flac", None), ("FLAC", "PCM_24")),
        (("WAV", "PCM_16"), ("FLAC", None), ("FLAC", "PCM_16")),
        (("WAV", "PCM_U8"), ("flac", None), ("FLAC", "PCM_S8")),
        (("FLAC", "PCM_16"), ("wav", None), ("WAV", "PCM_16")),
        (("FLAC", "PCM_16"), ("wav", "float"), ("WAV", "FLOAT")),
        (("WAV", "PCM_16"), (None, "PCM_24"), ("WAV", "PCM_24")),
        (("MP3", "MPEG_LAYER_III"), (None, "PCM_16"), ("WAV", "PCM_16")),
        (("WAV", "PCM_16"), ("mp3", None), ("MP3", "MPEG_LAYER_III")),
        (("WAV", "PCM_16"), ("ogg", None), ("OGG", "VORBIS")),
        (("WAV", "PCM_16"), ("ogg", "opus"), ("OGG", "OPUS")),
    ],
)
def test_stems_keep_the_song_s_form_unless_another_is_asked_for(song, asked, stem):
    assert form_for(Form(*song), *asked) == Form(*stem)


@pytest.mark.parametrize(
    ("song", "asked", "message"),
    [
        (("WAV", "PCM_16"), ("aiff", None), "format aiff: expected wav, flac, ogg, mp3"),
        (("WAV", "PCM_16"), ("flac", "FLOAT"), "subtype FLOAT: FLAC files hold PCM_S8, PCM_16, PCM_24"),
        (("FLAC", "PCM_16"), (None, "FLOAT"), r"subtype FLOAT: FLAC files hold .* own container\): give --format, too"),
        (("WAV", "PCM_16"), (None, "nonsense"), "subtype nonsense: WAV files hold"),
    ],
)
def test_forms_that_cannot_be_are_refused(song, asked, message):
    with pytest.raises(OptionError, match=message):
        form_for(Form(*song), *asked)


@pytest.mark.parametrize(
    ("form", "rate", "channels", "message"),
    [
        (Form("MP3", "MPEG_LAYER_III"), 96000, 2, "MP3 files cannot have 96000 Hz, only 8000, .*: choose another"),
        (Form("MP3", "MPEG_LAYER_III"), 44100, 6, "MP3 files have at most 2 channels, not 6"),
        (Form("OGG", "OPUS"), 44100, 2, "OPUS files cannot have 44100 Hz, only 8000, 12000"),
        (Form("OGG", "VORBIS"), 384000, 2, "OGG files have at most 200000 Hz, not 384000"),
        (Form("FLAC", "PCM_24"), 768000, 2, "FLAC files have at most 655350 Hz, not 768000: .* --format wav"),
        (Form("FLAC", "PCM_24"), 44100, 9, "FLAC files have at most 8 channels, not 9"),
    ],
)
def test_what_a_codec_does_not_take_is_refused_before_the_work(form, rate, channels, message):
    with pytest.raises(OptionError, match=message):
        check_form(form, rate, channels)


@pytest.mark.parametrize(("container", "subtype"), [(c, s) for c, subtypes in FORMATS.items() for s in subtypes])
def test_every_form_on_offer_is_one_that_libsndfile_writes(container, subtype):
    assert soundfile.check_format(container, subtype)
    assert Form(container, subtype).suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3")
