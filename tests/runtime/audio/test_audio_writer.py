"""Stems on the disk: the samples given, all files or none, and nothing lost that was there before."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from runtime.audio import Form, SongWriter, StemWriters, form_for, open_song, writer
from runtime.errors import AudioError

INTEGERS = [("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("FLAC", "PCM_S8")]
INTEGERS += [("FLAC", "PCM_16"), ("FLAC", "PCM_24")]
RATES = [8000, 22050, 44100, 96000, 192000]


def stems_of(block):
    """Vocals as an engine gives them, float32 and unrelated to any grid, and what is left of the mixture."""
    vocals = (0.37 * block + 0.1 * np.sin(np.arange(block.shape[1]) / 7)).astype(np.float32)
    return {"vocals": vocals, "instrumental": block - vocals}


def separate(song, folder, clip="rescale"):
    """What a separation does with files: returns the writers after the last one is in place."""
    with open_song(song) as reader:
        form = form_for(reader.form)
        targets = {stem: folder / f"{stem}{form.suffix}" for stem in ("vocals", "instrumental")}
        writers = StemWriters(targets, reader.sample_rate, reader.channels, form, clip, reader.tags, reader.samples)
        with writers:
            for block in reader.blocks(1000):
                writers.write(stems_of(block))
    return writers


def integers(path, bits):
    return soundfile.read(path, dtype="int32", always_2d=True)[0].astype(np.int64) >> (32 - bits)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("container", "subtype"), INTEGERS)
def test_vocals_and_instrumental_make_the_song_to_one_step_of_its_integers(tmp_path, container, subtype, rate):
    bits = Form(container, subtype).bits
    song = tmp_path / "song"
    mixture = np.random.default_rng(rate).integers(-(2**31), 2**31, (3000, 2), dtype=np.int64) // 3
    soundfile.write(song, mixture.astype(np.int32), rate, format=container, subtype=subtype)
    writers = separate(song, tmp_path, clip="none")
    assert not any(writers.clipped.values()) and writers.gain == 1.0
    files = [tmp_path / f"{stem}.{container.lower()}" for stem in ("vocals", "instrumental")]
    for file in files:
        info = soundfile.info(file)
        assert (info.format, info.subtype, info.samplerate, info.frames) == (container, subtype, rate, 3000)
    total = sum(integers(file, bits) for file in files)
    assert np.abs(total - integers(song, bits)).max() <= 1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_vocals_and_instrumental_make_the_song_in_float(tmp_path, subtype, rate):
    mixture = np.random.default_rng(rate).uniform(-1.5, 1.5, (3000, 1))
    soundfile.write(tmp_path / "song.wav", mixture, rate, subtype=subtype)
    separate(tmp_path / "song.wav", tmp_path)
    total = sum(soundfile.read(tmp_path / f"{stem}.wav", always_2d=True)[0] for stem in ("vocals", "instrumental"))
    assert np.abs(total - mixture).max() <= (1e-6 if subtype == "FLOAT" else 1e-15)


@pytest.mark.parametrize(("container", "subtype"), INTEGERS)
def test_integers_survive_reading_and_writing_unchanged(tmp_path, container, subtype):
    form = Form(container, subtype)
    full = 2 ** (form.bits - 1)
    levels = np.unique(np.linspace(-full, full - 1, 70000).round().astype(np.int64))
    soundfile.write(
        tmp_path / "x", (levels << (32 - form.bits)).astype(np.int32), 44100, format=container, subtype=subtype
    )
    with open_song(tmp_path / "x") as song, SongWriter(tmp_path / "y", 44100, 1, form) as out:
        for block in song.blocks():
            out.write(block)
    np.testing.assert_array_equal(integers(tmp_path / "y", form.bits)[:, 0], levels)
    assert out.clipped == 0


def test_rescaling_turns_all_stems_down_alike(tmp_path):
    mixture = np.random.default_rng(0).uniform(-0.9, 0.9, (5000, 2))
    soundfile.write(tmp_path / "song.wav", mixture, 44100, subtype="PCM_24")
    with StemWriters(
        {"a": tmp_path / "a.wav", "b": tmp_path / "b.wav"}, 44100, 2, Form("WAV", "PCM_16"), samples=5000
    ) as writers:
        loud = {"a": (2.0 * mixture).T.astype(np.float32), "b": (-1.0 * mixture).T.astype(np.float32)}
        writers.write({stem: block[:, :2000] for stem, block in loud.items()})
        writers.write({stem: block[:, 2000:] for stem, block in loud.items()})
    peak = max(np.abs(loud["a"]).max(), np.abs(loud["b"]).max())
    assert writers.gain == pytest.approx((1 - 2**-15) / peak) and writers.clipped == {"a": 0, "b": 0}
    assert writers.peaks["a"] == pytest.approx(peak)
    total = sum(integers(tmp_path / f"{stem}.wav", 16) for stem in "ab")
    assert np.abs(total - writers.gain * mixture * 2**15).max() <= 1.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav", "song.wav"]


@pytest.mark.parametrize(
    ("subtype", "clip", "expected", "clipped"),
    [
        ("FLOAT", "rescale", [0.5, 1.5, -2.0, 1.0], 0),
        ("FLOAT", "none", [0.5, 1.5, -2.0, 1.0], 0),
        ("FLOAT", "clamp", [0.5, 1.0, -1.0, 1.0], 2),
        ("PCM_16", "none", [0.5, 1.0, -1.0, 1.0], 2),
        ("PCM_16", "clamp", [0.5, 1.0, -1.0, 1.0], 2),
        ("PCM_16", "rescale", [0.25, 0.75, -1.0, 0.5], 0),
    ],
)
@pytest.mark.parametrize("samples", [None, 4])
def test_samples_beyond_full_scale(tmp_path, subtype, clip, expected, clipped, samples):
    writers = StemWriters({"x": tmp_path / "x.wav"}, 44100, 1, Form("WAV", subtype), clip, samples=samples)
    with writers:
        writers.write({"x": np.array([[0.5, 1.5, -2.0, 1.0]], np.float32)})
    np.testing.assert_allclose(soundfile.read(tmp_path / "x.wav")[0], expected, atol=1e-4)
    assert writers.clipped == {"x": clipped}


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_stems_have_the_length_of_the_song(tmp_path, container, subtype):
    audio = (0.5 * np.sin(np.arange(50000) / 20))[None].astype(np.float32)
    form = Form(container, subtype)
    with StemWriters({"x": tmp_path / f"x{form.suffix}"}, 48000, 1, form, tags={"title": "T"}) as writers:
        for first in range(0, 50000, 30000):
            writers.write({"x": audio[:, first : first + 30000]})
    with open_song(tmp_path / f"x{form.suffix}") as song:
        out = np.concatenate(list(song.blocks()), axis=1)
        assert song.form == form and song.tags["title"] == "T"
    assert out.shape == audio.shape
    assert np.abs(out - audio)[:, 5000:45000].max() < 0.1


@pytest.mark.parametrize("form", [Form("WAV", "PCM_16"), Form("FLAC", "PCM_16"), Form("OGG", "VORBIS")])
def test_tags_are_carried_over(tmp_path, form):
    tags = {
        "title": "Tïtle",
        "artist": "A",
        "album": "B",
        "tracknumber": "7",
        "date": "1999",
        "genre": "G",
        "comment": "C",
        "copyright": "D",
    }
    with SongWriter(tmp_path / "x", 44100, 1, form, tags=tags) as out:
        out.write(np.zeros((1, 100), np.float32))
    with open_song(tmp_path / "x") as song:
        assert song.tags == tags


@pytest.mark.parametrize(("samples", "container"), [(1000, "WAV"), (None, "RF64"), (9000, "RF64")])
def test_wav_files_that_would_exceed_4_gb_become_rf64(tmp_path, monkeypatch, samples, container):
    monkeypatch.setattr(writer, "WAV_BYTES", 4 * 2 * 5000)
    count = samples or 9000
    with StemWriters({"x": tmp_path / "x.wav"}, 8000, 2, Form("WAV", "FLOAT"), samples=samples) as writers:
        writers.write({"x": np.full((2, count), 0.5, np.float32)})
    info = soundfile.info(tmp_path / "x.wav")
    assert (info.format, info.frames, info.subtype) == (container, count, "FLOAT")


def test_a_wav_file_of_unknown_length_never_exceeds_4_gb_silently(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "WAV_BYTES", 4 * 2 * 5000)
    with (
        pytest.raises(AudioError, match=r"x\.wav: would exceed the 4 GB of a WAV file: choose --format flac"),
        SongWriter(tmp_path / "x.wav", 8000, 2, Form("WAV", "FLOAT")) as out,
    ):
        for _ in range(3):
            out.write(np.zeros((2, 2000), np.float32))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_stem_beyond_4_gb_can_be_read_again(tmp_path):
    samples = (1 << 32) // 8 + 100_000
    block = np.full((2, 1 << 20), 0.25, np.float32)
    with StemWriters({"x": tmp_path / "x.wav"}, 192000, 2, Form("WAV", "FLOAT"), samples=samples) as writers:
        for first in range(0, samples, 1 << 20):
            writers.write({"x": block[:, : samples - first]})
    assert (tmp_path / "x.wav").stat().st_size > 1 << 32
    with open_song(tmp_path / "x.wav") as song:
        assert (song.samples, song.form) == (samples, Form("RF64", "FLOAT"))
        assert sum(part.shape[1] for part in song.blocks(1 << 19) if (part == 0.25).all()) == samples
