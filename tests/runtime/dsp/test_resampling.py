"""Resampling block by block, and the queue of samples between two steps."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.dsp.fifo import Fifo
from runtime.dsp.resampling import Resampler, resampled_length

RATES = [1000, 8000, 22050, 44100, 48000, 192000, 768000]


@settings(deadline=None, max_examples=60)
@given(
    source=st.sampled_from(RATES),
    target=st.sampled_from(RATES),
    samples=st.integers(1, 5000),
    sizes=st.lists(st.integers(0, 3000), max_size=3),
)
def test_blocks_give_what_the_whole_gives(source, target, samples, sizes):
    song = np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32)
    length = resampled_length(samples, source, target)
    resampler = Resampler(source, target, (2,))
    parts, start = [], 0
    while start < samples:
        for size in [*sizes, 997]:
            parts.append(resampler.put(song[:, start : start + size]))
            start += size
    parts.append(resampler.finish(length))
    found = np.concatenate(parts, axis=1)
    whole = song if source == target else soxr.resample(song.T.copy(), source, target, quality="VHQ").T
    assert found.shape == (2, length)
    assert length == max(1, whole.shape[1])
    np.testing.assert_allclose(found[:, : whole.shape[1]], whole, atol=1e-6)


@pytest.mark.parametrize("samples", [150, 250])
def test_as_many_samples_as_asked_for(samples):
    resampler = Resampler(8000, 16000, (3, 2))
    parts = [resampler.put(np.ones((3, 2, 100), np.float32)), resampler.finish(samples)]
    out = np.concatenate(parts, axis=-1)
    assert out.shape == (3, 2, samples)
    assert (out[..., 200:] == 0).all()
    np.testing.assert_allclose(out[..., 50:150], 1, atol=0.2)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=40))
def test_what_goes_in_comes_out_in_order(steps):
    fifo, given_, taken = Fifo(), 0, []
    for put, take in steps:
        fifo.put(np.arange(given_, given_ + put, dtype=np.float32)[None])
        given_ += put
        taken.append(fifo.take(min(take, len(fifo)))[0])
    if steps:
        taken.append(fifo.take(len(fifo))[0])
        np.testing.assert_array_equal(np.concatenate(taken), np.arange(given_))


def test_a_queue_holds_no_more_than_four_times_what_waits():
    fifo = Fifo()
    for _ in range(1000):
        fifo.put(np.zeros((2, 100), np.float32))
        if len(fifo) > 500:
            fifo.drop(500)
    assert fifo._array is not None and fifo._array.shape[1] <= 4 * 600
    with pytest.raises(ValueError, match="9999 of"):
        fifo.first(9999)
