"""Copies run beside the network, and no wait between the streams may be left out (see tests/cuda_order.py)."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_order import Use
from plan_double import make

from runtime import EngineError
from runtime.backends.cuda import Cuda

BATCHES = (1, 1, 1, 3, 3, 1, 1, 1)


def run_two_at_a_time(setup):
    """As songs are separated: a result is taken when the next batch has been submitted. Returns all, and expected."""
    found, expected, pending = [], [], []
    with setup.open() as backend:
        for seed, batch in enumerate(BATCHES):
            mixture = setup.mixture(batch, seed=seed)
            expected.append(0.5 * mixture[:, None])
            pending.append(backend.submit(mixture))
            if len(pending) == backend.depth:
                found.append(pending.pop(0).result())
        found += [each.result() for each in pending]
    return found, expected


def are_equal(found, expected):
    return all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_two_at_a_time_give_what_one_by_one_gives(setup):
    assert are_equal(*run_two_at_a_time(setup))
    assert setup.cuda.leaks() == []


def test_copies_wait_only_for_what_they_need(setup):
    """The double runs nothing that is not waited for."""
    with setup.open() as backend:
        for seed in range(2):  # with full TensorRT there is a graph then
            backend.run(setup.mixture(seed=seed))
        mixtures = [setup.mixture(seed=seed) for seed in (2, 3, 4)]
        one, two = backend.submit(mixtures[0]), backend.submit(mixtures[1])
        setup.cuda.cudaStreamSynchronize(backend._cuda.up)
        given = setup.cuda.device_array(two._slot.taken.address, mixtures[1].size)
        np.testing.assert_array_equal(given, mixtures[1].reshape(-1))  # the second is there before the first is run
        assert setup.cuda.count_under_way("network") == 2
        np.testing.assert_array_equal(one.result(), 0.5 * mixtures[0][:, None])
        assert setup.cuda.count_under_way("network") == 1  # the first is back before the second is run
        three = backend.submit(mixtures[2])
        setup.cuda.cudaStreamSynchronize(backend._cuda.stream)
        assert setup.cuda.count_under_way("network") == 0  # the third is run before the second is back
        assert np.isnan(two._slot.stems.floats(mixtures[1].size)).all()
        for pending, mixture in ((two, mixtures[1]), (three, mixtures[2])):
            np.testing.assert_array_equal(pending.result(), 0.5 * mixture[:, None])
        assert not setup.cuda.is_under_way()


def without(step, stream=""):
    """`step` of Cuda not done, or not for that stream."""
    real = getattr(Cuda, step)

    def changed(self, *args):
        return None if not stream or args[-1] is getattr(self, stream) else real(self, *args)

    return step, changed


MISTAKES = {
    "the network does not wait for the copy up": without("wait_for", "stream"),
    "the copy down does not wait for the network": without("wait_for", "down"),
    "the host does not wait for the copy down": without("wait"),
    "no event after the copy up": without("record", "up"),
    "no event after the network": without("record", "stream"),
    "no event after the copy down": without("record", "down"),
    "another shape does not wait": without("synchronize"),
    "nothing is copied to the input and from the output": without("within_device"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wait_that_is_missing_is_found(setup, monkeypatch, mistake):
    monkeypatch.setattr(Cuda, *MISTAKES[mistake])
    try:
        found, expected = run_two_at_a_time(setup)
    except AssertionError:
        return
    assert not are_equal(found, expected)


@pytest.mark.parametrize("step", ["within_device", "to_host"])
def test_after_an_error_nothing_is_under_way_and_the_other_batch_is_right(setup, step):
    def failing(*args):
        raise EngineError("a fault")

    with setup.open() as backend:
        mixture = setup.mixture()
        backend.run(mixture)
        pending = backend.submit(mixture)
        with setup.monkeypatch.context() as patch:
            patch.setattr(Cuda, step, failing)
            with pytest.raises(EngineError, match="a fault"):
                backend.submit(setup.mixture(seed=1))
        assert not setup.cuda.is_under_way()
        again = setup.mixture(seed=2)
        second = backend.submit(again)
        np.testing.assert_array_equal(pending.result(), 0.5 * mixture[:, None])
        np.testing.assert_array_equal(second.result(), 0.5 * again[:, None])
    assert setup.cuda.leaks() == []


def test_a_graph_that_cannot_be_captured_leaves_nothing_under_way(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    setup.cuda.no_capture = True
    with setup.open() as backend:
        mixtures = [setup.mixture(seed=seed) for seed in range(2)]
        pending = [backend.submit(each) for each in mixtures]
        assert backend.notes and setup.cuda.count_under_way("network") == 1  # of what was given before, none
        assert are_equal([each.result() for each in pending], [0.5 * each[:, None] for each in mixtures])
    assert are_equal(*run_two_at_a_time(setup))
    assert setup.cuda.leaks() == []


def test_closing_waits_for_all_streams(setup):
    cuda = Cuda()
    for stream in (cuda.up, cuda.stream, cuda.down):
        setup.cuda.enqueue(int(stream), Use(lambda: None))
    cuda.close()
    backend = setup.open()
    for seed in range(2):
        backend.submit(setup.mixture(seed=seed))
    assert setup.cuda.is_under_way()
    backend.close()
    assert setup.cuda.leaks() == []
