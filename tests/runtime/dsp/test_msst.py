"""MSST's way of cutting and joining songs: its own results, in blocks of any size."""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden_data import arrays, relative_error
from hypothesis import example, given
from hypothesis import strategies as st
from msst import demix
from songs import blocks_of, noise

from runtime.dsp.chunks import OverlapAdd
from runtime.dsp.msst import MsstPlan
from runtime.engine.manifest import Msst

CASES = json.loads(str(arrays("x_msst_demix")["config"]))["cases"]


def louder_to_the_end(stems, chunk):
    """What it gives depends on the position in the chunk: [c, chunk] -> [s, c, chunk]."""
    levels = 0.25 * (np.arange(stems) + 1)
    gains = (levels[:, None, None] * (1 + np.arange(chunk) / (chunk - 1))).astype(np.float32)
    return lambda wave: gains * wave


def cut(song, plan, blocks):
    """All chunks of a song that comes in these blocks."""
    cutter = plan.cutter()
    for block in blocks:
        yield from cutter.put(block)
    yield from cutter.finish()


def streamed(song, plan, model, blocks):
    total = OverlapAdd()
    chunks = list(cut(song, plan, blocks))
    assert len(chunks) == plan.count(song.shape[1])
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(chunk.wave.shape == (*song.shape[:-1], plan.chunk) for chunk in chunks)
    return np.concatenate([total.add(chunk, model(chunk.wave)) for chunk in chunks], axis=-1)


def in_blocks(song, size):
    return (song[:, first : first + size] for first in range(0, song.shape[1], size))


@pytest.mark.parametrize("size", [37, 400, 5000])
@pytest.mark.parametrize("number", range(9))
def test_golden_results_of_msst(number, size):
    case, song = CASES[number], arrays("x_msst_demix")[f"x{number}"]
    plan = MsstPlan.of(Msst(case["chunk_size"], case["num_overlap"], case["batch_size"]))
    found = streamed(song, plan, louder_to_the_end(case["stems"], plan.chunk), in_blocks(song, size))
    assert relative_error(found, arrays("x_msst_demix")[f"y{number}"]) <= 1e-6
    assert (found[0, 0] == 0).sum() == case["exact_zero_samples"]


def test_golden_results_of_msst_from_single_samples():
    song, plan = arrays("x_msst_demix")["x2"], MsstPlan(600, 4, 2)
    found = streamed(song, plan, louder_to_the_end(2, 600), in_blocks(song, 1))
    assert relative_error(found, arrays("x_msst_demix")["y2"]) <= 1e-6


@given(
    samples=st.integers(1, 700),
    plan=st.integers(9, 120).flatmap(
        lambda chunk: st.builds(MsstPlan, st.just(chunk), st.integers(1, min(chunk, 12)), st.integers(1, 6))
    ),
    sizes=st.lists(st.integers(0, 130), max_size=4),
)
@example(samples=100, plan=MsstPlan(100, 1, 1), sizes=[])  # a single chunk, without padding
@example(samples=200, plan=MsstPlan(100, 2, 2), sizes=[])  # the last batch is full
@example(samples=100, plan=MsstPlan(100, 2, 1), sizes=[])  # twice the border: one more sample would be padded
@example(samples=101, plan=MsstPlan(100, 2, 1), sizes=[])
@example(samples=240, plan=MsstPlan(100, 4, 3), sizes=[1])  # a step before MSST's last chunk, a batch of its own
def test_in_blocks_of_any_size_it_is_the_same_as_with_the_whole_song(samples, plan, sizes):
    song, model = noise(2, samples), louder_to_the_end(2, plan.chunk)
    found = streamed(song, plan, model, blocks_of(song, sizes))
    np.testing.assert_allclose(found, demix(song, model, plan.chunk, plan.num_overlap, plan.batch), atol=2e-6)
    np.testing.assert_array_equal(found, streamed(song, plan, model, [song]))


@pytest.mark.parametrize("plan", [MsstPlan(100, 4, 1), MsstPlan(100, 1, 1), MsstPlan(100, 2, 5), MsstPlan(99, 7, 30)])
def test_no_more_than_a_batch_is_held_back(plan):
    given_, done = 0, 0

    def blocks():
        nonlocal given_
        for _ in range(500):
            given_ += 10
            yield np.zeros((1, 10), np.float32)

    for chunk in cut(np.zeros((1, 5000)), plan, blocks()):
        assert given_ - done <= max(plan.chunk, 2 * plan.border, plan.batch * plan.step) + 10
        done += chunk.done.stop - chunk.done.start
    assert done == given_ == 5000


def test_chunks_that_say_nothing_about_the_song_are_left_out():
    plan = MsstPlan(100, 4, 1)
    starts = [chunk.start for chunk in cut(np.zeros((1, 300)), plan, [np.zeros((1, 300), np.float32)])]
    assert starts == list(range(-75, 300, 25))  # MSST goes on to 350
