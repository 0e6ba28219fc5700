"""Stems of more than two channels: each channel where the song has it, for the speaker that the song says."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import soundfile
from fakes import separator_of
from sounds import FFMPEG, numbers, run_ffmpeg, tones

from runtime.audio import Form, SongWriter, StemWriters, form_for, open_song, writer
from runtime.audio.speakers import BY_COUNT, flac_mask, mask_of_layout
from runtime.songs.separate import separate_file

RATE = 48000
# With their number of channels.
LAYOUTS = {
    **{"2.1": 3, "3.0": 3, "3.0(back)": 3, "4.0": 4, "quad": 4, "quad(side)": 4, "3.1": 4, "5.0": 5, "5.0(side)": 5},
    **{"5.1": 6, "5.1(side)": 6, "hexagonal": 6, "6.0(front)": 6, "6.1": 7, "6.1(back)": 7, "7.1": 8, "7.1(wide)": 8},
}
STEMS = {"wav": Form("WAV", "PCM_16"), "flac": Form("FLAC", "PCM_16")}
OGG = {"ogg": Form("OGG", "VORBIS"), "opus": Form("OGG", "OPUS")}


def write(path, form, channels, mask, **settings):
    """A song with a tone of its own in each channel."""
    with SongWriter(path, RATE, channels, form, channel_mask=mask, **settings) as out:
        out.write(tones(channels, RATE, 0.5).T)


def copy(song, path, form=None):
    """What a separation does with files, for a stem that is the song. Returns what is noted."""
    with open_song(song) as reader:
        form = form or form_for(reader.form)
        layout = reader.sample_rate, reader.channels
        stems = StemWriters({"x": path}, *layout, form, tags=reader.tags, channel_mask=reader.channel_mask)
        with stems:
            for block in reader.blocks():
                stems.write({"x": block})
    return stems.notes


def mask(path):
    with open_song(path) as song:
        return song.channel_mask


def layout(path):
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=channel_layout", "-of", "csv=p=0", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("suffix", STEMS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_mask_of_a_song_is_that_of_its_stems(tmp_path, name, suffix):
    channels, said = LAYOUTS[name], mask_of_layout(name)
    write(tmp_path / "song.wav", STEMS["wav"], channels, said)
    assert f"Channel Mask  : 0x{said:X} " in soundfile.SoundFile(tmp_path / "song.wav").extra_info
    assert copy(tmp_path / "song.wav", tmp_path / f"x.{suffix}", STEMS[suffix]) == []
    copy(tmp_path / f"x.{suffix}", tmp_path / f"y.{suffix}")
    assert mask(tmp_path / f"x.{suffix}") == mask(tmp_path / f"y.{suffix}") == said
    audio, rate = soundfile.read(tmp_path / f"y.{suffix}")
    assert numbers(audio.T, rate) == list(range(1, channels + 1))


@FFMPEG
@pytest.mark.parametrize("suffix", STEMS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_other_programs_see_it(tmp_path, name, suffix):
    write(tmp_path / "song.wav", STEMS["wav"], LAYOUTS[name], mask_of_layout(name))
    copy(tmp_path / "song.wav", tmp_path / f"x.{suffix}", STEMS[suffix])
    assert layout(tmp_path / f"x.{suffix}") == name


@FFMPEG
@pytest.mark.parametrize("name", ["2.1", "4.0", "5.1", "5.1(side)", "hexagonal", "7.1"])
@pytest.mark.parametrize("suffix", ["wav", "w64", "flac", "mka"])
def test_the_mask_of_what_other_programs_write(tmp_path, name, suffix):
    write(tmp_path / "song.wav", STEMS["wav"], LAYOUTS[name], mask_of_layout(name))
    codec = ["-c:a", "wavpack"] if suffix == "mka" else []
    run_ffmpeg("-i", tmp_path / "song.wav", *codec, tmp_path / f"other.{suffix}")
    copy(tmp_path / f"other.{suffix}", tmp_path / "x.wav", STEMS["wav"])
    assert layout(tmp_path / "x.wav") == layout(tmp_path / f"other.{suffix}") == name
    assert numbers(soundfile.read(tmp_path / "x.wav")[0].T, RATE) == list(range(1, LAYOUTS[name] + 1))


@FFMPEG
@pytest.mark.parametrize("suffix", [*STEMS, *OGG])
@pytest.mark.parametrize("channels", range(3, 9))
def test_each_channel_is_played_by_its_speaker(tmp_path, channels, suffix):
    """ffmpeg gives channels in the order of WAV, whatever the order in the file."""
    implied = mask_of_layout("+".join(BY_COUNT[channels]))
    write(tmp_path / "song.wav", STEMS["wav"], channels, implied)
    path = tmp_path / f"x.{suffix}"
    assert copy(tmp_path / "song.wav", path, {**STEMS, **OGG}[suffix]) == []
    run_ffmpeg("-i", path, tmp_path / "decoded.wav")
    assert layout(tmp_path / "decoded.wav") == layout(tmp_path / "song.wav")
    assert numbers(soundfile.read(tmp_path / "decoded.wav")[0].T, RATE) == list(range(1, channels + 1))
    with open_song(path) as song:
        audio = np.concatenate(list(song.blocks()), axis=1)
        assert numbers(audio, RATE) == list(range(1, channels + 1)) and song.channel_mask == implied


@FFMPEG
@pytest.mark.parametrize("name", ["2.1", "3.0", "5.0(side)", "5.1(side)"])
@pytest.mark.parametrize("suffix", ["caf", "aiff"])
def test_the_layouts_of_aiff_and_caf(tmp_path, name, suffix):
    write(tmp_path / "song.wav", STEMS["wav"], LAYOUTS[name], mask_of_layout(name))
    run_ffmpeg("-i", tmp_path / "song.wav", tmp_path / f"song.{suffix}")
    assert mask(tmp_path / f"song.{suffix}") == mask_of_layout(name)


def test_a_song_that_says_nothing_has_stems_that_say_nothing(tmp_path):
    soundfile.write(tmp_path / "song.wav", tones(6, RATE), RATE, subtype="PCM_24")
    copy(tmp_path / "song.wav", tmp_path / "x.wav")
    assert mask(tmp_path / "song.wav") == mask(tmp_path / "x.wav") == 0
    assert "WAVE_FORMAT_EXTENSIBLE" in soundfile.SoundFile(tmp_path / "x.wav").extra_info
    copy(tmp_path / "song.wav", tmp_path / "x.flac", Form("FLAC", "PCM_24"))
    assert mask(tmp_path / "x.flac") == flac_mask(6)


@pytest.mark.parametrize("channels", [1, 2])
def test_mono_and_stereo_stems_are_plain_files(tmp_path, channels):
    write(tmp_path / "x.wav", STEMS["wav"], channels, mask_of_layout("stereo"))
    assert soundfile.info(tmp_path / "x.wav").format == "WAV"


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_32", "FLOAT", "DOUBLE"])
def test_large_files_and_other_types(tmp_path, monkeypatch, subtype):
    said = mask_of_layout("5.1(side)")
    write(tmp_path / "x.wav", Form("WAV", subtype), 6, said)
    assert mask(tmp_path / "x.wav") == said and soundfile.info(tmp_path / "x.wav").format == "WAVEX"
    monkeypatch.setattr(writer, "WAV_BYTES", 1000)
    write(tmp_path / "y.wav", Form("WAV", subtype), 6, said, samples=RATE // 2)
    assert mask(tmp_path / "y.wav") == said and soundfile.info(tmp_path / "y.wav").format == "RF64"


def test_tags_stay_beside_the_mask(tmp_path):
    tags = {"title": "T" * 4096, "artist": "A. Rtist", "comment": "C" * 4096}
    write(tmp_path / "song.flac", STEMS["flac"], 6, mask_of_layout("hexagonal"), tags=tags)
    with open_song(tmp_path / "song.flac") as song:
        assert song.tags == tags and song.channel_mask == mask_of_layout("hexagonal")


def test_a_mask_that_does_not_fit_the_channels_is_not_believed(tmp_path):
    for said in (0x3, 0xFFFFFFFF, 0x3F << 20):
        write(tmp_path / "x.wav", STEMS["wav"], 6, said)
        assert mask(tmp_path / "x.wav") == 0


@pytest.mark.parametrize(("name", "fits"), [("5.1", True), ("5.1(side)", True), ("hexagonal", False), ("2.1", False)])
def test_ogg_files_cannot_say_it_and_a_note_does(tmp_path, name, fits):
    write(tmp_path / "song.wav", STEMS["wav"], LAYOUTS[name], mask_of_layout(name))
    report = separate_file(
        separator_of(), tmp_path / "song.wav", {"vocals": tmp_path / "x.ogg"}, OGG["ogg"], channels="pairs"
    )
    assert (report.notes == ()) == fits
    assert fits or name in report.notes[0]
