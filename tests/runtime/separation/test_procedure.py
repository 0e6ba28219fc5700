"""Songs cut and joined as MSST does it: through STFT and engine, at any rate, with the other options."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from fakes import separator_of
from hypothesis import given, settings
from hypothesis import strategies as st
from msst import demix
from songs import blocks_of, noise

from runtime import OptionError
from runtime.dsp.stft import Stft

CHUNK = 4410  # samples of the fake engine's chunk


def separator(gains=(0.5,), num_overlap=4, batch_size=1, **options):
    return separator_of(gains, msst=(num_overlap, batch_size), procedure="msst", **options)


def louder_than_average(mixture):
    """A network of a kind: what it gives for a bin depends on all of the chunk, b t f c 2."""
    level = np.abs(mixture).mean(axis=(1, 2, 3, 4), keepdims=True)
    return (mixture * (np.abs(mixture) > level))[:, None]


def model(wave):
    """What `louder_than_average` makes of a chunk, [c, chunk] -> [c, chunk]."""
    stft = Stft(2048, 441)
    return stft.inverse(louder_than_average(stft.forward(wave[None].astype(np.float32))))[0, 0]


def joined(pieces):
    pieces = list(pieces)
    return {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("samples", [1, 3000, 9000, 30001])
def test_gains_come_out_and_the_length_is_kept(samples, rate):
    song = noise(2, samples)
    for stems in (separator().separate(song, rate), joined(separator().stream(blocks_of(song, [700]), rate, 2))):
        assert list(stems) == ["vocals", "instrumental"]
        assert stems["vocals"].shape == song.shape
        np.testing.assert_allclose(stems["vocals"] + stems["instrumental"], song, atol=1e-6)
        if rate == 44100:
            np.testing.assert_allclose(stems["vocals"], 0.5 * song, atol=1e-5)


def test_gains_come_out_at_another_rate():
    tone = np.sin(0.05 * np.arange(30001))[None]
    middle = slice(1000, 29000)  # a resampler hears the silence around the song
    vocals = separator().separate(tone, 48000)["vocals"]
    np.testing.assert_allclose(vocals[:, middle], 0.5 * tone[:, middle], atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    samples=st.integers(1, 20000),
    rate=st.sampled_from([44100, 22050]),
    num_overlap=st.integers(1, 5),
    batch_size=st.integers(1, 4),
    batch=st.integers(1, 4),
    sizes=st.lists(st.integers(0, 9000), max_size=3),
)
def test_it_is_what_msst_gives_for_the_same_network(samples, rate, num_overlap, batch_size, batch, sizes):
    song = noise(2, samples)
    wave = soxr.resample(song.T.copy(), rate, 44100, quality="VHQ").T if rate != 44100 else song
    vocals = demix(wave, model, CHUNK, num_overlap, batch_size).astype(np.float32)
    if rate != 44100:
        vocals = soxr.resample(vocals.T.copy(), 44100, rate, quality="VHQ").T
    opened = separator((1.0,), num_overlap, batch_size, batch=batch, function=louder_than_average)
    found = joined(opened.stream(blocks_of(song, sizes), rate, 2))["vocals"]
    assert found.shape == song.shape
    np.testing.assert_allclose(found, vocals, atol=2e-6)
    if rate == 44100:  # a resampler's last bits may depend on the blocks
        np.testing.assert_array_equal(found, opened.separate(song, rate)["vocals"])


def test_passes_are_averaged_chunk_by_chunk():
    def lopsided(mixture):
        return (mixture * np.array([1.0, 0.5], np.float32)[:, None])[:, None]

    song = noise(2, 15000)
    vocals = separator(function=lopsided, tta=True, shifts=2).separate(song, 44100)["vocals"]
    np.testing.assert_allclose(vocals, 0.75 * song, atol=1e-5)


def test_progress_counts_the_chunks_that_the_engine_gets():
    told = []
    opened = separator(batch=3)
    opened.separate(noise(1, 20000), 44100, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (22, 22)  # a step of 1102, a border of 3308
    assert sum(shape[0] for shape in opened.backend.shapes) == 22


@pytest.mark.parametrize("rate", [44100, 48000])
def test_stems_come_while_the_song_goes_on(rate):
    read = done = 0

    def blocks():
        nonlocal read
        for _ in range(100):
            read += 1000
            yield np.zeros((1, 1000), np.float32)

    for stems in separator(num_overlap=2, batch_size=3).stream(blocks(), rate, 1):
        done += stems["vocals"].shape[1]
        assert read - done <= 3 * CHUNK * rate / 44100 + 4000
    assert done == read == 100_000


def test_what_makes_no_sense_is_refused():
    with pytest.raises(OptionError, match=r"^--procedure fast: must be one of default, msst$"):
        separator_of(procedure="fast")
    with pytest.raises(OptionError, match=r"^--procedure msst: this engine .* export it again .* --config\)$"):
        separator_of(procedure="msst")
    with pytest.raises(OptionError, match=r"^--overlap: .* the engine's own num_overlap \(4\) applies$"):
        separator(overlap=0.5)
