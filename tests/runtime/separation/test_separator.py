"""What `separate` promises, around an engine whose effect is known."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import separator_of
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import EngineError, NumericsError, OptionError, SeparationError, Separator


def noise(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(
    samples=st.integers(1, 20000),
    channels=st.sampled_from([1, 2]),
    engine_channels=st.sampled_from([1, 2]),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    batch=st.integers(1, 4),
)
def test_length_and_channels_are_the_song_s(samples, channels, engine_channels, overlap, batch):
    song = noise(channels, samples)
    stems = separator_of(channels=engine_channels, overlap=overlap, batch=batch).separate(song, 44100)
    assert list(stems) == ["vocals", "instrumental"]
    np.testing.assert_allclose(stems["vocals"], 0.5 * song, atol=1e-5)
    np.testing.assert_allclose(stems["vocals"] + stems["instrumental"], song, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
def test_other_sample_rates_come_back_to_the_sample(rate):
    for samples in (1, 17, rate // 3, rate):
        tone = np.sin(2 * np.pi * 300 * np.arange(samples) / rate).astype(np.float32)[None]
        vocals = separator_of((1.0,)).separate(tone, rate)["vocals"]
        assert vocals.shape == tone.shape
        if samples == rate:
            middle = slice(rate // 4, 3 * rate // 4)
            np.testing.assert_allclose(vocals[:, middle], tone[:, middle], atol=1e-3)


def test_a_bare_mono_array_comes_back_as_one():
    song = noise(1, 5000)[0]
    stems = separator_of().separate(song, 44100)
    assert stems["vocals"].shape == stems["instrumental"].shape == (5000,)


def test_a_mono_engine_keeps_the_sides_of_a_stereo_song_apart():
    song = np.concatenate([noise(1, 9000), np.zeros((1, 9000), np.float32)])
    vocals = separator_of(channels=1).separate(song, 44100)["vocals"]
    np.testing.assert_allclose(vocals[0], 0.5 * song[0], atol=1e-5)
    assert not vocals[1].any()


def test_several_stems_keep_their_order_and_names():
    separator = separator_of((0.1, 0.2, 0.7), stems=["drums", "vocals", "rest"])
    song = noise(2, 7000)
    stems = separator.separate(song, 44100, stems=["rest", "drums", "instrumental"])
    assert list(stems) == ["rest", "drums", "instrumental"]
    np.testing.assert_allclose(stems["rest"], 0.7 * song, atol=1e-5)
    np.testing.assert_allclose(stems["drums"], 0.1 * song, atol=1e-5)
    np.testing.assert_allclose(stems["instrumental"], 0.8 * song, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "given"),
    [
        (["vocals"], ["vocals", "instrumental"]),
        (["Vocals"], ["vocals", "instrumental"]),
        (["Instrumental"], ["instrumental", "vocals"]),
        (["drums"], ["drums", "no_drums"]),
        (["Vocals", "Instrumental"], ["vocals", "instrumental"]),
        (["Drums", "VOCALS"], ["drums", "vocals", "instrumental"]),
        (["drums", "bass"], ["drums", "bass"]),
    ],
)
def test_stems_have_the_usual_names_and_the_rest_of_the_song_has_one(network, given):
    gains = (0.25, 0.5)[: len(network)]
    separator = separator_of(gains, stems=network)
    assert separator.stems == given
    song = noise(2, 3000)
    stems = separator.separate(song, 44100)
    for name, gain in zip(given, gains, strict=False):
        np.testing.assert_allclose(stems[name], gain * song, atol=1e-5)
    for rest in given[len(network) :]:
        taken = gains[given.index("vocals")] if rest == "instrumental" else gains[0]
        np.testing.assert_allclose(stems[rest], (1 - taken) * song, atol=1e-5)
        alone = separator.separate(song, 44100, stems=[rest.upper()])  # asked for alone, in other letters
        np.testing.assert_array_equal(alone[rest], stems[rest])


def test_chunks_go_to_the_engine_in_batches_and_progress_is_told():
    separator = separator_of(batch=3, overlap=0.0)
    told = []
    separator.separate(noise(2, 4410 * 7), 44100, progress=lambda done, total: told.append((done, total)))
    assert [shape[0] for shape in separator.backend.shapes] == [3, 3, 1]
    assert separator.backend.shapes[0] == (3, 11, 1025, 2, 2)
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert set(separator.times.seconds) == {"resample", "stft", "engine", "istft"}


def test_each_chunk_is_transformed_on_its_own_without_overlap():
    """A chunk's stems do not depend on the chunks beside it."""
    song = noise(2, 4410 * 3)
    separator = separator_of(overlap=0.0, function=lambda mixture: (mixture * (mixture[..., :1] > 0))[:, None])
    whole = separator.separate(song, 44100)["vocals"]
    for i in range(3):
        here = slice(4410 * i, 4410 * (i + 1))
        np.testing.assert_array_equal(separator.separate(song[:, here], 44100)["vocals"], whole[:, here])


def test_a_mono_song_gets_the_mean_of_both_channels():
    def lopsided(mixture):
        return (mixture * np.array([1.0, 0.5], np.float32)[:, None])[:, None]

    song = noise(1, 9000)
    vocals = separator_of(function=lopsided).separate(song, 44100)["vocals"]
    np.testing.assert_allclose(vocals, 0.75 * song, atol=1e-5)


@pytest.mark.parametrize("wrong", [lambda m: m, lambda m: m[:, None, :5], lambda m: np.stack([m, m], axis=1)])
def test_an_output_of_another_shape_is_an_error(wrong):
    with pytest.raises(EngineError, match="the engine returned shape .* expected"):
        separator_of(function=wrong).separate(noise(2, 1000), 44100)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_from_the_engine_is_an_error(value):
    def broken(mixture):
        out = mixture[:, None].copy()
        out[-1, 0, 3, 100, 0, 0] = value
        return out

    with pytest.raises(NumericsError, match="returned NaN or Inf for the chunk at 0.0 s"):
        separator_of(function=broken).separate(noise(2, 1000), 44100)


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros((1000, 2)), 44100, r"expected \[channels, samples\] with 1 or 2 channels"),
        (np.zeros((6, 1000)), 44100, "1 or 2 channels"),
        (np.zeros((2, 0)), 44100, "no samples"),
        (np.full((2, 10), np.nan), 44100, "NaN, Inf or samples beyond"),
        (np.full((2, 10), 1e38), 44100, "samples beyond 1e.09"),
        (np.zeros((2, 10), np.int16), 44100, "audio of type int16: expected floating-point samples"),
        (np.zeros((2, 10)), 0, "sample rate 0: must be between 1000 and 768000 Hz"),
        (np.zeros((2, 10)), float("nan"), "sample rate nan"),
        (np.zeros((2, 10)), "44100", "sample rate '44100'"),
    ],
)
def test_audio_that_is_none_is_refused(audio, rate, message):
    with pytest.raises(OptionError, match=message):
        separator_of().separate(audio, rate)


def test_unknown_options_are_refused():
    with pytest.raises(OptionError, match="stems drums: this engine gives vocals, instrumental"):
        separator_of().separate(noise(2, 10), 44100, stems=["drums"])
    with pytest.raises(OptionError, match="stems none"):
        separator_of().separate(noise(2, 10), 44100, stems=[])
    with pytest.raises(OptionError, match="^--batch 9: must be between 1 and 8"):
        separator_of(batch=9)
    with pytest.raises(OptionError, match="overlap 1.5"):
        separator_of(overlap=1.5)


def test_waveforms_go_in_and_out_of_an_engine_with_the_transforms_inside():
    separator = separator_of((0.5, 0.25), io="wave", batch=3, stems=["vocals", "drums"])
    song = noise(2, 30_000)
    stems = separator.separate(song, 44100)
    for name, gain in (("vocals", 0.5), ("drums", 0.25)):
        np.testing.assert_allclose(stems[name], gain * song, atol=1e-6)
    np.testing.assert_array_equal(separator.separate(song, 44100, ["drums"])["drums"], stems["drums"])
    assert {shape[1:] for shape in separator.backend.shapes} == {(2, 4410)}
    assert separator.times.seconds["stft"] == 0 and separator.times.seconds["engine"] > 0


@pytest.mark.parametrize("wrong", [lambda wave: wave[..., :-1], lambda wave: wave * np.float32(np.nan)])
def test_wrong_waveforms_from_the_engine_are_an_error(wrong):
    separator = separator_of(io="wave", function=lambda mixture: wrong(mixture[:, None]))
    with pytest.raises(SeparationError, match="the engine returned (shape|NaN)"):
        separator.separate(noise(2, 9000), 44100)


def test_a_smaller_last_group_is_filled_up_where_a_shape_is_expensive():
    """With silence, whose stems are dropped; a song of few chunks is not."""
    separator = separator_of(batch=3, overlap=0.0)
    separator.backend.depth = 2
    separator = Separator(separator.backend, separator.manifest, 0.0, 3)
    song = noise(2, 4410 * 4)
    np.testing.assert_allclose(separator.separate(song, 44100)["vocals"], 0.5 * song, atol=1e-6)
    assert [shape[0] for shape in separator.backend.shapes] == [3, 3]
    separator.separate(song[:, :4410], 44100)
    assert [shape[0] for shape in separator.backend.shapes] == [3, 3, 1]
