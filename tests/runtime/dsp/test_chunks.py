"""Chunks cover a song, and put together they are the song again."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import separator_of
from golden_data import arrays
from hypothesis import given
from hypothesis import strategies as st

from runtime.dsp.chunks import MAX_OVERLAP, WINDOWS, ChunkPlan, OverlapAdd
from runtime.errors import OptionError

totals = st.integers(1, 3000)
plans = st.builds(
    ChunkPlan.of, st.integers(2, 500), st.floats(0, MAX_OVERLAP), st.floats(0, 1), st.sampled_from(list(WINDOWS))
)
blocks = st.lists(st.integers(0, 700), min_size=1)


def cut(song, plan, sizes=(10**6,)):
    """All chunks of a song that comes in blocks of these sizes, over and over."""
    cutter, start, chunks = plan.cutter(), 0, []
    while start < song.shape[-1]:
        for size in (*sizes, 1):
            chunks += cutter.put(song[..., start : start + size])
            start += size
    return [*chunks, *cutter.finish()]


@given(totals, plans)
def test_every_sample_is_covered_and_weighs_something(total, plan):
    chunks = cut(np.ones((1, total), np.float32), plan)
    assert [chunk.start for chunk in chunks] == [i * plan.step for i in range(plan.count(total))]
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].start + chunks[-1].done.stop == total
    assert len(chunks) == 1 or chunks[-2].start + plan.chunk < total  # not a chunk more than needed
    weight = np.zeros(chunks[-1].start + plan.chunk)
    for chunk in chunks:
        assert (chunk.weights >= 0).all()
        weight[chunk.start : chunk.start + plan.chunk] += chunk.weights
    assert (weight[:total] > 0).all()


@given(totals, plans, blocks, st.integers(0, 99))
def test_unchanged_chunks_add_up_to_the_song_in_blocks_of_any_size(total, plan, sizes, seed):
    song = np.random.default_rng(seed).standard_normal((2, total)).astype(np.float32)
    result = OverlapAdd()
    found = []
    for chunk in cut(song, plan, sizes):
        assert chunk.wave.shape == (2, plan.chunk)
        found.append(result.add(chunk, chunk.wave))
    np.testing.assert_allclose(np.concatenate(found, axis=1), song, atol=1e-5)


def test_neighbours_cross_fade_to_one():
    plan = ChunkPlan.of(100, 0.25)
    first, second, last = plan.weights(True, False), plan.weights(False, False), plan.weights(False, True)
    assert (first[:75] == 1).all() and (second[25:75] == 1).all() and (last[25:] == 1).all()
    np.testing.assert_allclose(first[75:] + second[:25], 1, atol=1e-5)


def test_discarded_ends_count_for_nothing_and_the_rest_fades():
    plan = ChunkPlan.of(100, 0.5, discard=0.4, window="linear")
    assert (plan.step, plan.edge) == (50, 10)
    weights = plan.weights(False, False)
    assert not weights[:10].any() and not weights[-10:].any() and (weights[10:-10] > 0).all()
    np.testing.assert_allclose(weights[50:] + weights[:50], 1, atol=1e-5)
    assert (np.diff(weights[10:40]) > 0).all() and (weights[40:60] == 1).all()
    hard = ChunkPlan.of(100, 0.5, discard=1.0).weights(False, False)
    np.testing.assert_array_equal(hard, np.repeat([0, 1, 0], [25, 50, 25]))


def test_no_overlap_only_concatenates():
    plan = ChunkPlan.of(100, 0.0)
    chunks = cut(np.ones((1, 250), np.float32), plan)
    assert [chunk.start for chunk in chunks] == [0, 100, 200]
    assert (plan.weights(False, False) == 1).all()
    assert not chunks[2].wave[:, 50:].any()


@pytest.mark.parametrize("overlap", [-0.1, 0.95, 1.0, float("nan")])
def test_impossible_overlaps_are_refused(overlap):
    with pytest.raises(OptionError, match="--overlap .*: must be between 0 and 0.9"):
        ChunkPlan.of(10, overlap)


def test_other_impossible_settings_are_refused():
    with pytest.raises(OptionError, match="discard 1.5: must be between 0 and 1"):
        ChunkPlan.of(10, 0.5, discard=1.5)
    with pytest.raises(OptionError, match="window hann: must be one of cosine, linear, flat"):
        ChunkPlan.of(10, 0.5, window="hann")


@pytest.mark.parametrize(("number", "overlap"), [(0, 0.0), (1, 0.5), (2, 0.5)])
def test_golden_separator(number, overlap):
    """The official Separator around half the identity: 8 s chunks every 8 s, and every 4 s without and with Hann."""
    golden = arrays("x_separator")
    separator = separator_of((0.5,), sample_rate=4410, frames=81, overlap=overlap)
    found = separator.separate(golden[f"in{number}"], 4410)["vocals"]
    reference = golden[f"out{number}"][0]
    assert np.abs(found - reference).max() <= 5e-6 * np.abs(reference).max()
