"""Songs separated block by block: the same as all at once, in bounded memory, one at a time."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import soxr
from fakes import separator_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from songs import blocks_of, noise

from runtime import OptionError
from runtime.dsp.stft import Stft
from runtime.separation.procedure import DEFAULT_OVERLAP, DISCARD

CHUNK = 4410  # samples of the fake engine's chunk


def louder_than_average(mixture):
    """A network of a kind: what it gives for a bin depends on all of the chunk, b t f c 2."""
    level = np.abs(mixture).mean(axis=(1, 2, 3, 4), keepdims=True)
    return (mixture * (np.abs(mixture) > level))[:, None]


def joined(pieces):
    pieces = list(pieces)
    assert all(len({wave.shape for wave in piece.values()}) == 1 for piece in pieces)
    return {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}


def all_at_once(song, rate, overlap):
    """The vocals of a stereo song as one would compute them with all of it in memory."""
    wave = soxr.resample(song.T.copy(), rate, 44100, quality="VHQ").T if rate != 44100 else song
    step = round(CHUNK * (1 - overlap))
    starts = [0]
    while starts[-1] + CHUNK < wave.shape[1]:
        starts.append(starts[-1] + step)
    padded = np.pad(wave, ((0, 0), (0, starts[-1] + CHUNK - wave.shape[1])))
    total, weight = np.zeros_like(padded), np.zeros(padded.shape[1])
    stft = Stft(2048, 441)
    edge = (CHUNK - step) // 4  # of an overlap half does not count, a quarter at each end
    fade = min(CHUNK - 2 * edge - step, (CHUNK - 2 * edge) // 2)
    for start in starts:
        weights = np.ones(CHUNK)
        ramp = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade) ** 2 if fade else np.ones(0)
        if start > 0:
            weights[: edge + fade] = np.concatenate([np.zeros(edge), ramp])
        if start < starts[-1]:
            weights[CHUNK - edge - fade :] = np.concatenate([ramp[::-1], np.zeros(edge)])
        here = slice(start, start + CHUNK)
        (vocals,) = stft.inverse(louder_than_average(stft.forward(padded[None, :, here])))[0]
        total[:, here] += weights * vocals
        weight[here] += weights
    vocals = (total / weight)[:, : wave.shape[1]].astype(np.float32)
    back = soxr.resample(vocals.T.copy(), 44100, rate, quality="VHQ").T if rate != 44100 else vocals
    return np.pad(back, ((0, 0), (0, max(0, song.shape[1] - back.shape[1]))))[:, : song.shape[1]]


@settings(deadline=None, max_examples=60)
@given(
    samples=st.integers(1, 30000),
    sizes=st.lists(st.integers(0, 9000), max_size=4),
    rate=st.sampled_from([44100, 48000, 22050, 96000]),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    batch=st.integers(1, 4),
)
def test_streamed_is_the_same_as_all_at_once(samples, sizes, rate, overlap, batch):
    assume(2 * (samples * 44100 % rate) != rate)  # of half a sample soxr's one call makes none, the stream one
    song = noise(2, samples)
    separator = separator_of(overlap=overlap, batch=batch, function=louder_than_average)
    stems = joined(separator.stream(blocks_of(song, sizes), rate, 2))
    assert list(stems) == ["vocals", "instrumental"]
    np.testing.assert_allclose(stems["vocals"], all_at_once(song, rate, overlap), atol=1e-6)
    np.testing.assert_allclose(stems["vocals"] + stems["instrumental"], song, atol=1e-6)
    for name, wave in separator.separate(song, rate).items():
        np.testing.assert_allclose(wave, stems[name], atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(channels=st.integers(1, 7), engine_channels=st.sampled_from([1, 2]), batch=st.integers(1, 3))
def test_pairs_are_songs_of_their_own(channels, engine_channels, batch):
    song = noise(channels, 9000)
    separator = separator_of(channels=engine_channels, batch=batch, function=louder_than_average)
    stems = joined(separator.stream(blocks_of(song, [4000]), 44100, channels, pairs=True))
    for first in range(0, channels, 2):
        alone = separator.separate(song[first : first + 2], 44100)
        for name, wave in alone.items():
            np.testing.assert_allclose(stems[name][first : first + 2], wave, atol=1e-6)


def test_float64_keeps_the_sum_exact():
    song = np.random.default_rng(0).uniform(-1, 1, (2, 20000))
    stems = joined(separator_of().stream(blocks_of(song, [700]), 48000, 2))
    assert stems["vocals"].dtype == np.float32 and stems["instrumental"].dtype == np.float64
    np.testing.assert_allclose(stems["vocals"] + stems["instrumental"], song, atol=1e-15)


def test_half_a_sample_at_the_engine_s_rate_is_not_lost():
    song = noise(2, 30000)  # at 48 kHz; 27562.5 at 44.1 kHz
    vocals = joined(separator_of((1.0,)).stream(blocks_of(song, []), 48000, 2))["vocals"]
    assert vocals.shape == song.shape and np.abs(vocals[:, -1]).min() > 1e-3


@pytest.mark.parametrize("rate", [44100, 48000])
def test_stems_come_as_soon_as_the_song_allows(rate):
    """What is on its way is never more than two chunks and what the resamplers hold back."""
    read = 0

    def blocks():
        nonlocal read
        for _ in range(200):
            read += 1000
            yield np.zeros((1, 1000), np.float32)

    done, told = 0, []
    for stems in separator_of().stream(blocks(), rate, 1, progress=told.append):
        assert stems["vocals"].shape[1] > 0
        done += stems["vocals"].shape[1]
        assert read - done <= 2 * CHUNK * rate / 44100 + 4000
        assert told[-1] == done
    assert done == read == 200_000


@pytest.mark.seconds
def test_memory_does_not_grow_with_the_song():
    def peak(seconds, rate):
        separator = separator_of(batch=2)
        tracemalloc.start()
        for _ in separator.stream((noise(2, rate // 10) for _ in range(10 * seconds)), rate, 2):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1, 48000)  # what is made once
    for rate in (44100, 48000):
        short, long = peak(3, rate), peak(60, rate)
        assert long - short < 200_000, f"{short} and {long} bytes at {rate} Hz"
        assert long < 2 * 60 * rate * 4  # far less than the song itself


def test_single_samples_go_through():
    song = np.sin(0.1 * np.arange(3000, dtype=np.float32))[None]
    stems = joined(separator_of((0.4,)).stream((song[:, i : i + 1] for i in range(3000)), 22050, 1, ["instrumental"]))
    assert list(stems) == ["instrumental"]
    np.testing.assert_allclose(stems["instrumental"][:, 1000:2000], 0.6 * song[:, 1000:2000], atol=1e-3)


def test_a_part_of_the_stems_is_the_same_as_in_all_of_them():
    song = noise(2, 12000)
    separator = separator_of((0.1, 0.2, 0.7), stems=["drums", "vocals", "rest"], function=None)
    everything = separator.separate(song, 48000)
    for wanted in (["rest"], ["instrumental"], ["instrumental", "drums"], ["vocals", "drums"]):
        some = separator.separate(song, 48000, wanted)
        assert list(some) == wanted
        for name, wave in some.items():
            np.testing.assert_allclose(wave, everything[name], atol=1e-6)


# Seams


def jumps(overlap):
    """A tone through an engine that is loud and soft in turns: the largest change of its gain from one sample on.

    Such an engine is worse than any network, which hears nearly the same in neighbouring chunks.
    """
    counter = itertools.count()

    def moody(mixture):
        return (mixture * np.float32(1.0 if next(counter) % 2 else 0.5))[:, None]

    song = np.ones((1, 20 * CHUNK), np.float32)
    vocals = separator_of(function=moody, overlap=overlap).separate(song, 44100)["vocals"]
    assert vocals.min() < 0.51 and vocals.max() > 0.99
    return np.abs(np.diff(vocals)).max()


def test_the_default_leaves_no_step_at_a_seam():
    slope = np.pi / 2 / (DEFAULT_OVERLAP * (1 - DISCARD) * CHUNK)  # the steepest of a raised cosine over what fades
    assert jumps(DEFAULT_OVERLAP) <= 0.5 * slope * 1.05
    assert jumps(0.0) > 0.4  # the measure does see a step


# What is refused


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "audio contains no samples"),
        ([np.zeros((2, 0))], "audio contains no samples"),
        ([np.zeros((1, 10))], r"a block of shape \(1, 10\): expected \[2, samples\]"),
        ([np.zeros(10)], r"a block of shape \(10,\)"),
        ([np.zeros((2, 10), np.int16)], "audio of type int16: expected floating-point samples"),
        ([np.zeros((2, 4410)), np.array([[0, 0], [0, np.nan]])], "contains NaN, Inf .* at 0.100 s"),
    ],
)
def test_blocks_that_are_no_sound_are_refused(blocks, message):
    with pytest.raises(OptionError, match=message):
        list(separator_of().stream(blocks, 44100, 2))


def test_options_are_refused_before_anything_is_read():
    def unread():
        raise AssertionError
        yield

    for settings_, message in [
        ((44100, 3), "3 channels: expected 1 or 2, or more with pairs=True"),
        ((44100, 0), "0 channels"),
        ((44100, -1, None, None, True), "-1 channels"),
        ((0, 2), "sample rate 0"),
        ((44100, 2, ["bass"]), "stems bass: this engine gives vocals, instrumental"),
    ]:
        with pytest.raises(OptionError, match=message):
            separator_of().stream(unread(), *settings_)
