"""What a picture of a song shows, and that gathering it takes no more memory for a longer one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from runtime.errors import AudioError, OptionError
from runtime.pictures import mel, plot
from runtime.pictures.mel import Sketch, mel_bank

RATE = 8000  # Hz


def picture(audio, rate=RATE, sizes=(1000,)):
    """Of `audio` [c, samples], added in blocks of these sizes, by turns."""
    sketch = Sketch(rate, len(audio))
    first, turn = 0, 0
    while first < audio.shape[1]:
        size = sizes[turn % len(sizes)]
        sketch.add(audio[:, first : first + size])
        first, turn = first + size, turn + 1
    return sketch.picture()


def tone(hertz, seconds=2.0, rate=RATE):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)[None]


def noise(seconds, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, round(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize(("rate", "hertz"), [(8000, 440), (44100, 3000), (192000, 15000), (1000, 100)])
def test_a_tone_is_loudest_in_the_band_of_its_pitch(rate, hertz):
    found = picture(tone(hertz, rate=rate), rate)
    loudest = found.power[len(found.power) // 2].argmax()
    nearest = np.abs(found.centres - hertz).argmin()
    assert abs(loudest - nearest) <= 1
    assert found.energy[5:-5] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("rate", [1000, 8000, 44100, 768000])
def test_no_band_is_empty(rate):
    centres, bank = mel_bank(rate, 1 << round(np.log2(mel.WINDOW * rate)))
    np.testing.assert_allclose(bank.sum(axis=0), 1, rtol=1e-5)
    assert (np.diff(centres) > 0).all() and centres[-1] < min(rate / 2, mel.TOP)


def test_a_picture_does_not_depend_on_the_blocks():
    audio = noise(7, channels=2)
    whole, cut = picture(audio, sizes=(audio.shape[1],)), picture(audio, sizes=(1, 999, 4096, 17))
    np.testing.assert_allclose(cut.power, whole.power, rtol=1e-5)
    for name in ("low", "high", "energy"):
        np.testing.assert_allclose(getattr(cut, name), getattr(whole, name), rtol=1e-6)
    assert whole.seconds == cut.seconds == pytest.approx(7)


def test_columns_hold_the_extremes_and_the_mean_of_their_part(monkeypatch):
    audio = noise(30)
    fine = picture(audio)
    monkeypatch.setattr(mel, "COLUMNS", 16)
    coarse = picture(audio)
    together = round(coarse.column / fine.column)
    assert 8 <= len(coarse.low) <= 16 < len(fine.low) and len(coarse.low) == -(-len(fine.low) // together)
    for i in range(len(coarse.low)):
        part = slice(i * together, (i + 1) * together)
        assert coarse.low[i] == fine.low[part].min() and coarse.high[i] == fine.high[part].max()
        assert coarse.energy[i] == pytest.approx(fine.energy[part].mean())
        np.testing.assert_allclose(coarse.power[i], fine.power[part].mean(axis=0), rtol=1e-5)


def test_what_is_kept_does_not_grow_with_the_song(monkeypatch):
    monkeypatch.setattr(mel, "COLUMNS", 16)
    sketch = Sketch(RATE, 2)
    sizes = set()
    for block in np.split(noise(64, channels=2), 64, axis=1):
        sketch.add(block)
        columns = sketch._columns
        kept = (sketch._buffer, columns.power, columns.energy, columns.low, columns.high)
        sizes.add(sum(array.nbytes for array in kept) // 10000)
    assert len(sizes) == 1


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 257, 1024])
def test_short_sounds_are_whole(samples):
    found = picture(np.full((1, samples), 0.5))
    assert len(found.power) == len(found.high) == -(-samples // 256)
    assert found.high.max() == 0.5 and found.seconds == samples / RATE


def test_nothing_has_no_picture():
    with pytest.raises(ValueError, match="no samples"):
        Sketch(RATE, 1).picture()


def test_the_voice_is_where_the_vocals_are_loud_enough():
    song = noise(10)
    vocals = np.zeros_like(song)
    parts = {(2.0, 4.0): 0.5, (4.1, 5.0): 0.5, (7.0, 8.0): 0.01}  # a breath at 4.0 s; too quiet at 7.0 s
    for (start, end), gain in parts.items():
        here = slice(round(start * RATE), round(end * RATE))
        vocals[:, here] = gain * song[:, here]
    drawn, heard = picture(song), picture(vocals)
    found = plot.spans(plot.voice(drawn, heard), heard.column, heard.seconds)
    assert found == [pytest.approx((2.0, 5.0), abs=0.1)]
    assert not plot.voice(picture(0 * song), picture(0 * song)).any()
    assert plot.spans(plot.voice(drawn, drawn), drawn.column, drawn.seconds) == [(0, 10)]


@pytest.mark.parametrize(
    ("seconds", "length", "text"), [(75, 200, "1:15"), (75, 7200, "0:01:15"), (5400, 7200, "1:30:00")]
)
def test_times_read_as_on_a_player(seconds, length, text):
    assert plot.clock(seconds, length) == text


@pytest.mark.parametrize(("minutes", "last"), [(1.5, "1:20"), (5, "4:30"), (180, "2:45:00"), (3000, "48:00:00")])
def test_the_axis_of_a_long_song_is_in_round_times(minutes, last):
    song = replace(picture(noise(1)), seconds=60.0 * minutes)
    figure = plot.draw("x", song, {})
    assert figure.axes[1].get_xticklabels()[-1].get_text() == last
    assert 5 <= len(figure.axes[1].get_xticks()) <= 26


def test_a_figure_shows_the_song_every_stem_and_the_voice():
    song = picture(noise(3))
    figure = plot.draw("x", song, {"vocals": song, "instrumental": picture(0 * noise(3))})
    rows = figure.axes[:5]
    assert [text.get_text() for axes in rows for text in axes.texts] == ["the song", "vocals", "instrumental"]
    images = [axes.images[0].get_array() for axes in rows[2:]]
    assert images[0].max() == images[1].max() == 0 and (images[2] == -plot.RANGE).all()
    assert rows[1].get_ylabel() == "voice: 100%"
    assert rows[0].get_xlim() == (0, 3)
    without = plot.draw("x", song, {"drums": song})
    assert not [axes for axes in without.axes if axes.get_ylabel().startswith("voice")]


@pytest.mark.parametrize(("samples", "channels"), [(1, 1), (50000, 2), (20000, 6)])
def test_a_picture_of_files_whatever_their_name(tmp_path, samples, channels):
    soundfile.write(tmp_path / "a.wav", noise(samples / RATE, channels).T, RATE, subtype="FLOAT")
    target = tmp_path / "a.png"
    plot.plot_song(target, "$x^ \u6b4c \U0001f3b5 \udce9", tmp_path / "a.wav", {"vocals": tmp_path / "a.wav"})
    content = target.read_bytes()
    assert content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.wav"]


def test_a_stem_that_cannot_be_read_leaves_no_picture(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1).T, RATE)
    with pytest.raises(AudioError, match="none.wav: does not exist"):
        plot.plot_song(tmp_path / "a.png", "x", tmp_path / "a.wav", {"vocals": tmp_path / "none.wav"})
    assert not (tmp_path / "a.png").exists()


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(OptionError, match=r"pip install 'bsmamba2\[report\]'"):
        plot.draw("x", picture(noise(1)), {})
