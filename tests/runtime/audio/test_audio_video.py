"""The sound of videos and of containers that only ffmpeg reads: its length, its start, its bits, its speakers."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from sounds import FFMPEG, noise, read, run_ffmpeg

from runtime.audio import form_for, open_song
from runtime.errors import AudioError

pytestmark = FFMPEG
RATE = 44100
# container -> the codecs of picture and sound, and by how many samples the codec lengthens a sound
VIDEOS = {
    "mkv": ("mpeg4", "flac", 0),
    "webm": ("libvpx", "libvorbis", 2048),
    "wmv": ("wmv2", "wmav2", 2048),
    "flv": ("flv", "aac", 2048),
    "avi": ("mpeg4", "pcm_s16le", 0),
    "mp4": ("mpeg4", "aac", 2048),
    "mov": ("mpeg4", "pcm_s16le", 0),
    "ts": ("mpeg2video", "aac", 2048),
    "ogv": ("libtheora", "libvorbis", 0),
}


@pytest.fixture
def song(tmp_path):
    """One second."""
    soundfile.write(tmp_path / "song.wav", noise(RATE) * 0.3, RATE, subtype="PCM_16")
    return tmp_path / "song.wav"


def video(path, song, picture, before=(), seconds=3):
    """The song beside a picture of so many seconds."""
    picture_codec, sound_codec, _ = VIDEOS[path.suffix[1:]]
    source = ["-f", "lavfi", "-i", f"testsrc=d={seconds}:r=25:s=64x48"] if picture else []
    maps = ["-map", "0:v", "-map", "1:a"] if picture else ["-map", "0:a"]
    codecs = ["-c:v", picture_codec] if picture else []
    run_ffmpeg(*source, *before, "-i", song, *maps, *codecs, "-c:a", sound_codec, path)
    return path


@pytest.mark.parametrize("container", VIDEOS)
@pytest.mark.parametrize("seconds", [1, 3])
def test_a_picture_may_outlast_the_sound(tmp_path, song, container, seconds):
    path = video(tmp_path / f"x.{container}", song, picture=True, seconds=seconds)
    audio, notes = read(path)
    assert RATE <= audio.shape[1] <= RATE + VIDEOS[container][2] or (
        container == "wmv" and audio.shape[1] > RATE - 2048
    )
    assert notes == []


@pytest.mark.parametrize("container", ["mkv", "mp4", "mov"])
def test_subtitles_may_outlast_the_sound(tmp_path, song, container):
    (tmp_path / "x.srt").write_text("1\n00:00:01,000 --> 00:00:05,000\nwords\n")
    words = "srt" if container == "mkv" else "mov_text"
    path = tmp_path / f"x.{container}"
    sound = VIDEOS[container][1]
    run_ffmpeg("-i", song, "-i", tmp_path / "x.srt", "-map", "0", "-map", "1", "-c:s", words, "-c:a", sound, path)
    assert read(path)[0].shape[1] >= RATE


@pytest.mark.parametrize("container", ["mkv", "mp4", "webm"])
def test_sound_that_starts_late_is_read_and_told(tmp_path, song, container):
    path = video(tmp_path / f"x.{container}", song, picture=True, before=["-itsoffset", "1.5"])
    audio, notes = read(path)
    assert audio.shape[1] >= RATE
    assert len(notes) == 1 and "starts 1.5" in notes[0].replace("1.48", "1.5")


def test_sound_alone_that_starts_late_is_whole(tmp_path, song):
    path = video(tmp_path / "x.mkv", song, picture=False, before=["-itsoffset", "2"])
    audio, notes = read(path)
    assert audio.shape[1] == RATE and notes == []


@pytest.mark.parametrize("container", ["mkv", "webm", "wmv", "flv", "avi", "mp4", "mov", "ogv"])
@pytest.mark.parametrize("picture", [True, False])
def test_a_cut_file_is_refused_whatever_else_it_holds(tmp_path, container, picture):
    soundfile.write(tmp_path / "song.wav", noise(4 * RATE) * 0.3, RATE, subtype="PCM_16")
    path = video(tmp_path / f"x.{container}", tmp_path / "song.wav", picture, seconds=4)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(
        AudioError, match=rf"x\.{container}: (the file is (incomplete|damaged)|cannot be read as audio)"
    ):
        read(path)


def test_a_live_recording_that_was_broken_off_is_read_with_a_note(tmp_path):
    """Matroska without a length, as recorders write it so that a crash leaves a file that can be played."""
    soundfile.write(tmp_path / "song.wav", noise(8 * RATE) * 0.3, RATE, subtype="PCM_16")
    path = tmp_path / "x.mkv"
    run_ffmpeg("-i", tmp_path / "song.wav", "-c:a", "flac", "-f", "matroska", "-live", "1", path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    audio, notes = read(path)
    assert 2 * RATE < audio.shape[1] < 6 * RATE
    assert len(notes) == 1 and "damaged or missing" in notes[0]


@pytest.mark.parametrize("container", ["mov", "mkv", "avi"])
@pytest.mark.parametrize(
    ("codec", "subtype"),
    [
        ("pcm_u8", "PCM_U8"),
        ("pcm_s16le", "PCM_16"),
        ("pcm_s24le", "PCM_24"),
        ("pcm_s32le", "PCM_32"),
        ("pcm_f32le", "FLOAT"),
    ],
)
def test_pcm_keeps_its_bits_in_any_container(tmp_path, container, codec, subtype):
    sound = np.random.default_rng(0).integers(-(2**31), 2**31 - 1, (5000, 2)) / 2**31
    soundfile.write(tmp_path / "song.wav", sound, RATE, subtype="DOUBLE")
    path = tmp_path / f"x.{container}"
    run_ffmpeg("-i", tmp_path / "song.wav", "-c:a", codec, path)
    run_ffmpeg("-i", path, "-c:a", codec, tmp_path / "as.wav")
    with open_song(path) as opened:
        assert form_for(opened.form).subtype == subtype
        audio = np.concatenate(list(opened.blocks()), axis=1)
    expected = soundfile.read(tmp_path / "as.wav", dtype=str(audio.dtype), always_2d=True)[0]
    np.testing.assert_array_equal(audio.T, expected)


@pytest.mark.parametrize(
    "layout", ["5.1", "5.1(side)", "hexagonal", "6.1(back)", "7.1(wide)", "quad(side)", "3.0(back)"]
)
def test_channels_stay_as_they_are_whatever_speakers_they_are_for(tmp_path, layout):
    """Asked for a number of channels only, ffmpeg mixes them for the speakers that it takes by that number."""
    path = tmp_path / "x.mov"
    sound = f"anoisesrc=d=0.2:r={RATE},pan={layout}|c0=c0|c1=0.5*c0|c2=0.25*c0"
    run_ffmpeg("-f", "lavfi", "-i", sound, "-c:a", "pcm_s16le", path)
    run_ffmpeg("-i", path, "-c:a", "pcm_s16le", tmp_path / "as.wav")
    expected = soundfile.read(tmp_path / "as.wav", dtype="float32", always_2d=True)[0]
    np.testing.assert_array_equal(read(path)[0].T, expected)


@pytest.mark.parametrize("container", ["mkv", "mp4", "avi", "mov"])
def test_of_several_tracks_the_first_is_read_with_a_note(tmp_path, song, container):
    soundfile.write(tmp_path / "other.wav", 0.5 * noise(2 * RATE, seed=1), RATE, subtype="PCM_16")
    path = tmp_path / f"x.{container}"
    codec = "alac" if container == "mp4" else "pcm_s16le"
    run_ffmpeg("-i", song, "-i", tmp_path / "other.wav", "-map", "0", "-map", "1", "-c:a", codec, path)
    audio, notes = read(path)
    np.testing.assert_array_equal(audio.T, soundfile.read(song, dtype="float32")[0])
    assert len(notes) == 1 and "2 streams of sound: the first" in notes[0]


def test_a_short_lack_is_noted_and_a_long_one_refused(tmp_path):
    """A WavPack file declares its length, and consists of blocks of half a second."""
    soundfile.write(tmp_path / "song.wav", noise(4 * RATE), RATE, subtype="PCM_16")
    run_ffmpeg("-i", tmp_path / "song.wav", "-c:a", "wavpack", tmp_path / "x.wv")
    content = (tmp_path / "x.wv").read_bytes()
    starts = [at for at in range(len(content)) if content[at : at + 4] == b"wvpk"]
    (tmp_path / "x.wv").write_bytes(content[: starts[-1]])
    audio, notes = read(tmp_path / "x.wv")
    assert 3.4 * RATE < audio.shape[1] < 3.9 * RATE
    assert len(notes) == 1 and "declares 4.00 s" in notes[0]
    (tmp_path / "x.wv").write_bytes(content[: starts[-2]])
    with pytest.raises(AudioError, match="x.wv: the file is incomplete or damaged: it declares 4.0 s"):
        read(tmp_path / "x.wv")


def test_a_file_that_is_cut_in_its_first_packet_is_not_called_undecodable(tmp_path, song):
    run_ffmpeg("-i", song, "-c:a", "tta", tmp_path / "x.tta")
    content = (tmp_path / "x.tta").read_bytes()
    (tmp_path / "x.tta").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"x\.tta: the file is (incomplete|damaged).*get the complete file"):
        read(tmp_path / "x.tta")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.nut", ["-c:a", "pcm_s16le"]),
        ("x.wtv", ["-c:a", "mp2"]),
        ("x.mlp", ["-c:a", "mlp", "-strict", "-2"]),
        ("x.spdif", ["-c:a", "ac3", "-b:a", "256k"]),
        ("x.swf", ["-c:a", "libmp3lame"]),
        ("x.ast", []),
        ("x.adx", []),
    ],
)
def test_formats_that_hold_their_own_sound_are_accepted(tmp_path, song, name, options):
    run_ffmpeg("-i", song, *options, tmp_path / name)
    assert RATE <= read(tmp_path / name)[0].shape[1] <= RATE + 4096


@pytest.mark.parametrize("front", [bytes(3000), b"part of a frame" * 10])
def test_mpeg_audio_that_does_not_begin_with_a_frame_is_noted(tmp_path, song, front):
    run_ffmpeg("-i", song, "-c:a", "libmp3lame", tmp_path / "x.mp3")
    (tmp_path / "x.mp3").write_bytes(front + (tmp_path / "x.mp3").read_bytes())
    audio, notes = read(tmp_path / "x.mp3")
    assert audio.shape[1] >= RATE
    assert len(notes) == 1 and "a part may be missing" in notes[0]
