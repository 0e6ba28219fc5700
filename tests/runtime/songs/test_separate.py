"""Files through a separator into files."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import soundfile
from fakes import separator_of

from runtime import AudioError, NumericsError, OptionError
from runtime.audio import Form
from runtime.songs.separate import ahead, separate_file


def write(path, channels=2, samples=20000, rate=44100, subtype="PCM_16", level=0.9):
    song = np.random.default_rng(0).uniform(-level, level, (samples, channels))
    soundfile.write(path, song, rate, subtype=subtype)
    return path


def targets(folder, *stems):
    return {stem: folder / f"{stem}.wav" for stem in stems}


@pytest.mark.parametrize(("subtype", "lsb"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-31)])
@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_vocals_and_instrumental_are_the_song_again(tmp_path, subtype, lsb, rate):
    song = write(tmp_path / "song.wav", rate=rate, subtype=subtype, level=0.5)
    separator = separator_of((0.6,))
    told = []
    report = separate_file(separator, song, targets(tmp_path, "vocals", "instrumental"), progress=told.append)
    read = {}
    for name in ("song", "vocals", "instrumental"):
        found = soundfile.info(tmp_path / f"{name}.wav")
        assert (found.samplerate, found.channels, found.frames, found.subtype) == (rate, 2, 20000, subtype)
        read[name] = soundfile.read(tmp_path / f"{name}.wav", dtype="float64")[0]
    assert np.abs(read["vocals"] + read["instrumental"] - read["song"]).max() <= lsb * 1.001
    assert np.abs(read["vocals"]).max() > 0.1
    assert (report.samples, report.sample_rate, report.channels, report.seconds) == (20000, rate, 2, 20000 / rate)
    assert (report.form, report.gain, report.clipped) == (
        Form("WAV", subtype),
        1.0,
        {"vocals": 0, "instrumental": 0},
    )
    assert set(report.times) == {"read", "resample", "stft", "engine", "istft", "write"}
    assert report.wall > 0 and told == sorted(told) and told[-1] == 20000


def test_the_times_are_of_this_song_alone(tmp_path):
    separator = separator_of()
    separator.times.seconds["engine"] = 1000.0
    report = separate_file(separator, write(tmp_path / "song.wav"), targets(tmp_path, "vocals"))
    assert 0 < report.times["engine"] < 100


def test_more_channels_are_refused_or_separated_in_pairs(tmp_path):
    song = write(tmp_path / "song.wav", channels=5, subtype="FLOAT")
    files = targets(tmp_path, "vocals", "instrumental")
    for options in ({}, {"channels": "refuse"}, {"channels": "ask"}):  # its old name
        with pytest.raises(AudioError, match=r"song\.wav: has 5 channels, expected 1 or 2: --channels pairs"):
            separate_file(separator_of(), song, files, **options)
    with pytest.raises(OptionError, match="^--channels some: must be refuse or pairs$"):
        separate_file(separator_of(), song, files, channels="some")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song.wav"]
    separate_file(separator_of(), song, files, channels="pairs")
    audio = soundfile.read(song)[0]
    np.testing.assert_allclose(soundfile.read(files["vocals"])[0], 0.5 * audio, atol=1e-5)
    np.testing.assert_allclose(soundfile.read(files["instrumental"])[0], 0.5 * audio, atol=1e-5)


@pytest.mark.parametrize("clip", ["rescale", "clamp", "none"])
def test_what_exceeds_full_scale_is_treated_as_asked(tmp_path, clip):
    song = write(tmp_path / "song.wav", level=0.9)
    files = targets(tmp_path, "vocals", "instrumental")
    report = separate_file(separator_of((2.0,)), song, files, clip=clip)
    audio, vocals, rest = (soundfile.read(path)[0] for path in (song, *files.values()))
    if clip == "rescale":
        assert 0.5 < report.gain < 0.6 and not any(report.clipped.values())
        np.testing.assert_allclose(vocals + rest, report.gain * audio, atol=2**-15)
    else:
        assert report.gain == 1.0 and report.clipped["vocals"] > 1000 and np.abs(vocals).max() >= 1 - 2**-15


def leaves_nothing(folder, separator, song, error, match, **options):
    (folder / "vocals.wav").write_text("earlier")
    threads = threading.active_count()  # tests before this one may have left some
    with pytest.raises(error, match=match):
        separate_file(separator, song, targets(folder, "vocals", "instrumental"), **options)
    assert sorted(path.name for path in folder.iterdir()) == ["song.wav", "vocals.wav"]
    assert (folder / "vocals.wav").read_text() == "earlier"
    assert threading.active_count() == threads
    assert separator.separate(np.zeros((2, 10)), 44100)["vocals"].shape == (2, 10)


def test_a_song_that_breaks_off_leaves_nothing(tmp_path):
    song = write(tmp_path / "song.wav", subtype="FLOAT", samples=300_000)
    audio, rate = soundfile.read(song, dtype="float32")
    audio[250_000] = np.nan
    soundfile.write(song, audio, rate, subtype="FLOAT")
    leaves_nothing(tmp_path, separator_of(), song, AudioError, r"song\.wav: holds NaN, Inf .* at 5\.669 s")


def test_an_engine_that_fails_leaves_nothing(tmp_path):
    count = iter(range(1000))

    def breaks(mixture):
        return mixture[:, None] * np.float32(np.nan if next(count) == 3 else 1)

    song = write(tmp_path / "song.wav")
    leaves_nothing(tmp_path, separator_of(function=breaks), song, NumericsError, "NaN or Inf for the chunk at 0.2 s")


def test_ctrl_c_leaves_nothing(tmp_path):
    def interrupt(done):
        if done > 10000:
            raise KeyboardInterrupt

    song = write(tmp_path / "song.wav")
    leaves_nothing(tmp_path, separator_of(), song, KeyboardInterrupt, None, progress=interrupt)


def test_a_stem_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(self, stems):
        raise AudioError("vocals.wav: cannot be written (No space left on device)")

    song = write(tmp_path / "song.wav")
    monkeypatch.setattr("runtime.audio.StemWriters.write", full)
    leaves_nothing(tmp_path, separator_of(), song, AudioError, "No space left on device")


# Fetching ahead


def test_items_are_fetched_one_ahead_in_order():
    fetched, at_two = [], threading.Event()

    def items():
        for i in range(5):
            fetched.append((i, threading.current_thread() is threading.main_thread()))
            if i == 2:
                at_two.set()
            yield i

    coming = ahead(items())
    assert [next(coming), next(coming)] == [0, 1]
    assert at_two.wait(10)  # without being asked for it
    assert list(coming) == [2, 3, 4]
    assert fetched == [(i, False) for i in range(5)]


def test_errors_come_where_they_happened_and_the_thread_ends():
    def items():
        yield 1
        raise AudioError("broken")

    threads = threading.active_count()
    coming = ahead(items())
    assert next(coming) == 1
    with pytest.raises(AudioError, match="broken"):
        next(coming)
    assert threading.active_count() == threads
    unfinished = ahead(iter(range(10)))
    assert next(unfinished) == 0
    unfinished.close()
    assert threading.active_count() == threads
