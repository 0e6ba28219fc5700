"""Chunks cover a song, and put together they are the song again."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import separator_of
from golden_data import arrays
from hypothesis import given
from hypothesis import strategies as st

from runtime.chunks import MAX_OVERLAP, ChunkPlan, OverlapAdd
from runtime.errors import OptionError

totals = st.integers(1, 3000)
chunks = st.integers(2, 500)
overlaps = st.floats(0, MAX_OVERLAP)


@given(totals, chunks, overlaps)
def test_every_sample_is_covered_and_weighs_something(total, chunk, overlap):
    plan = ChunkPlan.of(total, chunk, overlap)
    assert plan.start(0) == 0
    assert plan.start(len(plan) - 1) < total <= plan.start(len(plan) - 1) + chunk
    assert len(plan) == 1 or plan.start(len(plan) - 2) + chunk < total  # not a chunk more than needed
    weight = np.zeros(plan.start(len(plan) - 1) + chunk)
    for i in range(len(plan)):
        assert (plan.weights(i) > 0).all()
        weight[plan.start(i) : plan.start(i) + chunk] += plan.weights(i)
    assert (weight[:total] > 0).all()


@given(totals, chunks, overlaps, st.integers(0, 99))
def test_unchanged_chunks_add_up_to_the_song(total, chunk, overlap, seed):
    song = np.random.default_rng(seed).standard_normal((2, total)).astype(np.float32)
    plan = ChunkPlan.of(total, chunk, overlap)
    result = OverlapAdd(plan, (2,))
    for i in range(len(plan)):
        piece = plan.cut(song, i)
        assert piece.shape == (2, chunk)
        result.add(i, piece)
    np.testing.assert_allclose(result.result(), song, atol=1e-5)


def test_neighbours_cross_fade_to_one():
    plan = ChunkPlan.of(1000, 100, 0.25)
    first, second = plan.weights(0), plan.weights(1)
    assert (first[:75] == 1).all() and (second[25:75] == 1).all()
    np.testing.assert_allclose(first[75:] + second[:25], 1, atol=1e-5)
    assert (plan.weights(len(plan) - 1)[25:] == 1).all()


def test_no_overlap_only_concatenates():
    plan = ChunkPlan.of(250, 100, 0.0)
    assert [plan.start(i) for i in range(len(plan))] == [0, 100, 200]
    assert all((plan.weights(i) == 1).all() for i in range(3))
    assert not plan.cut(np.ones((1, 250), np.float32), 2)[:, 50:].any()


@pytest.mark.parametrize("overlap", [-0.1, 0.95, 1.0, float("nan")])
def test_impossible_overlaps_are_refused(overlap):
    with pytest.raises(OptionError, match="expected a number from 0 to 0.9"):
        ChunkPlan.of(100, 10, overlap)


@pytest.mark.parametrize(("number", "overlap"), [(0, 0.0), (1, 0.5), (2, 0.5)])
def test_golden_separator(number, overlap):
    """The official Separator around half the identity: 8 s chunks every 8 s, and every 4 s without and with Hann."""
    golden = arrays("x_separator")
    separator = separator_of((0.5,), sample_rate=4410, frames=81, overlap=overlap)
    found = separator.separate(golden[f"in{number}"], 4410)["vocals"]
    reference = golden[f"out{number}"][0]
    assert np.abs(found - reference).max() <= 5e-6 * np.abs(reference).max()
