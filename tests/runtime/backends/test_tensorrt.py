"""The TensorRT backend, against strict doubles of TensorRT and CUDA (see tests/tensorrt_double.py)."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from cuda_double import CudaDouble, cudaError_t
from plan_double import VERSION, make
from tensorrt_double import CudaGraphStrategy

from runtime import EngineError, NumericsError, open_separator
from runtime.engine.manifest import Range

pytestmark = pytest.mark.seconds


def test_runs_chunk_after_chunk_and_gives_everything_back(setup):
    with setup.open() as backend:
        assert backend.name == f"{setup.manifest.plan.flavour} {VERSION}, NVIDIA Double"
        for seed, batch in enumerate([1, 1, 1, 3, 3, 1, 8]):
            mixture = setup.mixture(batch, seed=seed)
            np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
        assert backend.notes == []
    assert setup.cuda.leaks() == []
    backend.close()  # twice does no harm


def test_memory_is_taken_once(setup):
    with setup.open() as backend:
        backend.run(setup.mixture(8))
        before = setup.cuda.leaks()
        for batch in (1, 8, 5):
            backend.run(setup.mixture(batch))
        kinds = [each for each in setup.cuda.leaks() if "graph" not in each]
        assert kinds == [each for each in before if "graph" not in each]
        assert sum(each.startswith("device") for each in kinds) == 2


def test_two_chunks_are_under_way_at_a_time(setup):
    with setup.open() as backend:
        first, second, third = (setup.mixture(batch, seed=batch) for batch in (2, 2, 3))
        one, two = backend.submit(first), backend.submit(second)
        with pytest.raises(EngineError, match="2 batches are pending: take a result before submitting"):
            backend.submit(third)
        np.testing.assert_array_equal(one.result(), 0.5 * first[:, None])
        three = backend.submit(third)  # of another shape, while the second is still on its way
        np.testing.assert_array_equal(three.result(), 0.5 * third[:, None])
        np.testing.assert_array_equal(two.result(), 0.5 * second[:, None])
        np.testing.assert_array_equal(one.result(), 0.5 * first[:, None])
    assert setup.cuda.leaks() == []


def test_nothing_waits_before_a_result_is_asked_for(setup):
    with setup.open() as backend:
        pending = backend.submit(setup.mixture())
        assert setup.cuda._queue
        pending.result()
        assert not setup.cuda._queue


def test_full_tensorrt_replays_a_graph_and_rtx_keeps_its_own(setup):
    with setup.open() as backend:
        for _ in range(4):
            backend.run(setup.mixture())
        runs = [call for call in setup.cuda.calls if call != "cudaMemcpyAsync"]
    if setup.manifest.plan.flavour == "tensorrt":  # as it is, captured, replayed
        assert runs == ["execute_async_v3", "execute_async_v3", *["cudaGraphLaunch"] * 3]
    else:
        assert runs == ["execute_async_v3"] * 4
        (config,) = setup.double.engines[0]._configs
        assert config.cuda_graph_strategy is CudaGraphStrategy.WHOLE_GRAPH_CAPTURE


def test_a_release_of_rtx_without_graphs_is_noted(rtx):
    del rtx.double.CudaGraphStrategy
    with rtx.open() as backend:
        assert backend.notes == [f"TensorRT-RTX {VERSION} does not use CUDA graphs"]
        mixture = rtx.mixture()
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])


def test_a_graph_is_of_the_shape_its_context_has(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    with setup.open() as backend:
        for seed, batch in enumerate([2, 2, 2, 1, 2, 2]):
            mixture = setup.mixture(batch, seed=seed)
            np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
        assert [each for each in setup.cuda.leaks() if "graph" in each] == ["graph executable"]
    assert setup.cuda.leaks() == []


def test_a_graph_that_cannot_be_captured_is_noted_and_done_without(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    setup.cuda.no_capture = True
    with setup.open() as backend:
        for seed in range(4):
            mixture = setup.mixture(seed=seed)
            np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
        assert backend.notes == [
            "no CUDA graph: CUDA: cudaStreamEndCapture failed with cudaErrorStreamCaptureUnsupported"
        ]
    assert setup.cuda.leaks() == []


def test_any_length_in_the_range(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch, frames=Range(5, 11, 20), stems=("vocals", "drums"))
    with setup.open() as backend:
        for frames in (5, 11, 11, 20, 11):
            mixture = setup.mixture(2, frames)
            assert backend.run(mixture).shape == (2, 2, frames, 1025, 2, 2)
        for batch, frames in ((1, 4), (1, 21), (9, 11)):
            with pytest.raises(EngineError, match=r"x\.plan takes float32, a batch of 1 to 8, 5 to 20 frames"):
                backend.run(setup.mixture(batch, frames))
        with pytest.raises(EngineError, match="got float64"):
            backend.run(setup.mixture().astype(np.float64))


def test_songs_go_through_in_groups_of_chunks(setup):
    for batch in (1, 3):
        setup.cuda = CudaDouble()
        setup.install()
        song = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 30000)).astype(np.float32)
        separator = open_separator(setup.plan, batch=batch)
        done: dict[int, int] = {}
        stems = separator.separate(song, 44100, progress=done.__setitem__)
        np.testing.assert_allclose(stems["vocals"], 0.5 * song, atol=1e-6)
        chunks = set(done.values()).pop()
        assert list(done) == [*range(batch, chunks, batch), chunks]
        separator.close()
        assert setup.cuda.leaks() == []


def test_nan_is_never_silence_and_leaves_nothing_under_way(setup):
    setup.install(gains=(float("nan"),))
    separator = open_separator(setup.plan)
    for _ in range(2):
        with pytest.raises(NumericsError, match="NaN or Inf"):
            separator.separate(np.ones((2, 30000), np.float32), 44100)
    separator.close()
    assert setup.cuda.leaks() == []


def test_a_run_that_fails_says_why_and_can_be_followed_by_another(setup):
    with setup.open() as backend:
        setup.install()
        engine = backend._engine
        engine._fails = True
        for _ in range(3):
            with pytest.raises(EngineError, match=r"x\.plan: failed to run \(execution failed\)"):
                backend.run(setup.mixture())
        engine._fails = False
        mixture = setup.mixture(3)
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
        engine._fails = True
        with pytest.raises(EngineError, match="failed to run"):
            backend.run(setup.mixture(2))
        engine._fails = False
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])  # of the shape before
    assert setup.cuda.leaks() == []


def test_a_fault_on_the_gpu_is_told_for_each_chunk_and_memory_is_still_given_back(setup):
    backend = setup.open()
    pending = [backend.submit(setup.mixture()) for _ in range(2)]
    fault = cudaError_t.cudaErrorIllegalAddress
    with setup.monkeypatch.context() as patch:
        patch.setattr(CudaDouble, "cudaEventSynchronize", lambda self, event: (fault,))
        for each in pending:
            with pytest.raises(EngineError, match="cudaEventSynchronize failed with cudaErrorIllegalAddress"):
                each.result()
            with pytest.raises(EngineError, match="this batch failed on the GPU"):
                each.result()
        patch.setattr(CudaDouble, "cudaMemcpyAsync", lambda self, dst, src, count, kind, stream: (fault,))
        with pytest.raises(EngineError, match="cudaMemcpyAsync failed with cudaErrorIllegalAddress"):
            backend.submit(setup.mixture())
    synchronize = CudaDouble.cudaStreamSynchronize

    def faulty(self, stream):
        synchronize(self, stream)
        return (fault,)

    setup.monkeypatch.setattr(CudaDouble, "cudaStreamSynchronize", faulty)
    with pytest.raises(EngineError, match="cudaStreamSynchronize failed"):
        backend.close()
    assert setup.cuda.leaks() == []


def test_nothing_is_run_or_read_after_close(setup):
    backend = setup.open()
    pending = backend.submit(setup.mixture())
    backend.close()
    with pytest.raises(EngineError, match=r"x\.plan: was closed before the result was taken"):
        pending.result()
    with pytest.raises(EngineError, match=r"x\.plan: is closed: open it again"):
        backend.run(setup.mixture())


def test_a_backend_that_is_dropped_gives_everything_back(setup):
    setup.open().run(setup.mixture())
    gc.collect()
    assert setup.cuda.leaks() == []
