"""The TensorRT backend, against strict doubles of TensorRT and CUDA (see tests/tensorrt_double.py)."""

from __future__ import annotations

import gc
import re
import threading

import numpy as np
import pytest
from cuda_double import CudaDouble, cudaError_t
from plan_double import VERSION, make
from tensorrt_double import (
    CudaGraphStrategy,
    DynamicShapesKernelSpecializationStrategy,
    ICudaEngine,
    ILogger,
    RtxRuntimeConfig,
)

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


def sizes(cuda):
    """Bytes of the device's memory, largest first."""
    return sorted((memory.nbytes for memory in cuda._device.values()), reverse=True)


def test_memory_is_that_of_the_largest_shape_so_far(setup):
    with setup.open() as backend:
        assert sizes(setup.cuda) == [] and setup.cuda._host == {}
        item = 4 * setup.mixture().size
        taken = []
        for batch in (2, 1, 2, 5, 3):
            mixture = setup.mixture(batch)
            np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
            taken.append(sizes(setup.cuda))
        # The network's input and output, those of the slot, and intermediate results.
        small, large = ([*4 * [batch * item], batch * 4096] for batch in (2, 5))
        assert taken == [small, small, small, large, large]
        assert len(setup.cuda._host) == 2 * 1  # one batch at a time needs one slot
        first, second = backend.submit(setup.mixture(2)), backend.submit(setup.mixture(2))
        assert len(setup.cuda._host) == 2 * 2
        first.result(), second.result()
    assert setup.cuda.leaks() == []


def test_a_batch_may_be_put_where_copies_take_it_from(setup):
    with setup.open() as backend:
        pending, expected = [], []
        for seed, batch in enumerate((1, 3, 1)):
            mixture = setup.mixture(batch, seed=seed)
            lent = backend.lend(mixture.shape)
            lent[:] = mixture
            expected.append(0.5 * mixture[:, None])
            pending.append(backend.submit(lent))
            assert np.shares_memory(lent, pending[-1]._slot.mixture.floats(mixture.size))
            if len(pending) == backend.depth:
                np.testing.assert_array_equal(pending.pop(0).result(), expected.pop(0))
                pending_slot = pending[0]._slot.mixture.address
                assert backend.lend(mixture.shape).ctypes.data != pending_slot
        np.testing.assert_array_equal(pending[0].result(), expected[0])
        one, two = (backend.submit(setup.mixture()) for _ in range(2))
        with pytest.raises(EngineError, match="2 batches are pending"):
            backend.lend((1, 2))
        one.result(), two.result()
    with pytest.raises(EngineError, match="is closed"):
        backend.lend((1, 2))
    assert setup.cuda.leaks() == []


def test_a_slot_grows_while_the_other_one_is_on_its_way(setup):
    with setup.open() as backend:
        for batch in (1, 1):  # both slots
            one, two = backend.submit(setup.mixture(batch)), backend.submit(setup.mixture(batch, seed=1))
            one.result(), two.result()
        first, second = setup.mixture(3, seed=2), setup.mixture(3, seed=3)
        one, two = backend.submit(first), backend.submit(second)
        np.testing.assert_array_equal(one.result(), 0.5 * first[:, None])
        np.testing.assert_array_equal(two.result(), 0.5 * second[:, None])
    assert setup.cuda.leaks() == []


def test_full_memory_is_one_line_and_a_smaller_batch_still_runs(setup):
    setup.cuda._memory = 5 * 4 * setup.mixture().size
    with setup.open() as backend:
        backend.run(setup.mixture(1))
        with pytest.raises(EngineError) as raised:
            backend.run(setup.mixture(8))
        assert re.fullmatch(
            r".*/x\.plan: GPU memory is full: a batch of 8 with 11 frames does not fit into the 0\.\d\d GB that are "
            "free: "
            "use a smaller --batch, close other programs that use the GPU, or export with a smaller --batch-max",
            str(raised.value),
        )
        mixture = setup.mixture(1)
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
    assert setup.cuda.leaks() == []


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
        assert setup.cuda.is_under_way()
        pending.result()
        assert not setup.cuda.is_under_way()


def test_full_tensorrt_replays_a_graph_and_rtx_keeps_its_own(setup):
    with setup.open() as backend:
        for _ in range(4):
            backend.run(setup.mixture())
        runs = [call for call in setup.cuda.calls if call != "cudaMemcpyAsync"]
    if setup.manifest.plan.flavour == "tensorrt":  # as it is, captured, replayed
        assert runs == ["execute_async_v3", "execute_async_v3", *["cudaGraphLaunch"] * 3]
    else:
        assert runs == ["execute_async_v3"] * 4
        settings = setup.double.engines[0].settings
        assert settings["cuda_graph_strategy"] is CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        name = "dynamic_shapes_kernel_specialization_strategy"
        assert settings[name] is DynamicShapesKernelSpecializationStrategy.EAGER


def test_what_a_release_of_rtx_lacks_is_noted(rtx):
    del rtx.double.CudaGraphStrategy, rtx.double.DynamicShapesKernelSpecializationStrategy
    rtx.monkeypatch.delattr(RtxRuntimeConfig, "create_runtime_cache")
    with rtx.open() as backend:
        assert backend.notes == [
            f"TensorRT-RTX {VERSION} does not use CUDA graphs",
            f"TensorRT-RTX {VERSION} compiles the kernels of a shape while it runs: the first batches are slower",
            f"TensorRT-RTX {VERSION} keeps no kernels: it compiles them at every start",
        ]
        mixture = rtx.mixture()
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])


def test_tensorrt_10_9_has_no_runtime_configuration(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    monkeypatch.delattr(ICudaEngine, "create_runtime_config")
    with setup.open() as backend:  # its memory is taken by the shape as well: the double insists
        mixture = setup.mixture(2)
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])


def test_warnings_about_another_gpu_are_notes(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    warning = "Using an engine plan file across different models of devices is not recommended."

    def warned(engine):
        for each in (warning, "CUDA lazy loading is not enabled."):
            engine._logger.log(ILogger.Severity.WARNING, each)
        return engine

    setup.install(change=warned)
    with setup.open() as backend:
        assert backend.notes == [f"TensorRT: {warning}"]


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
        assert backend._context.reason() == " (no reason given)"
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


def test_waveforms_in_and_out(tmp_path, monkeypatch):
    """A chunk of [c, samples] is a few megabytes less than its spectrogram; its length is counted in frames."""
    setup = make("tensorrt-rtx", tmp_path, monkeypatch, frames=Range(5, 11, 20), io="wave", stems=("vocals", "drums"))
    with setup.open() as backend:
        for batch, frames in ((1, 5), (2, 11), (8, 20)):
            mixture = setup.mixture(batch, frames)
            assert mixture.shape == (batch, 2, 441 * (frames - 1))
            np.testing.assert_array_equal(backend.run(mixture), np.stack([0.5 * mixture] * 2, axis=1))
        for wrong in (setup.mixture(1, 4), setup.mixture(9, 5), setup.mixture()[..., :-1], setup.mixture()[:, :1]):
            with pytest.raises(EngineError, match=r"x\.plan takes float32.*5 to 20 frames.*in steps of 441 samples"):
                backend.run(wrong)
    song = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 30000)).astype(np.float32)
    with open_separator(setup.plan, batch=3) as separator:
        np.testing.assert_allclose(separator.separate(song, 44100)["drums"], 0.5 * song, atol=1e-6)
        assert separator.times.seconds["stft"] == 0
    assert setup.cuda.leaks() == []


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
        (engine,) = setup.double.engines
        said = r"" if setup.manifest.plan.flavour == "tensorrt-rtx" else r" \(execution failed\)"
        engine._fails = True
        for _ in range(3):
            with pytest.raises(EngineError, match=rf"x\.plan: failed to run{said}: try a smaller --batch"):
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


def test_every_thread_uses_the_gpu_of_the_backend(setup):
    """CUDA's current GPU belongs to each thread, and is GPU 0 at first. The double sees a stream of another one."""
    setup.cuda = CudaDouble("NVIDIA Other", "7.5", others=[("NVIDIA Double", "8.9")])
    setup.install()
    backend = setup.open(1)
    assert backend.name.endswith(", NVIDIA Double")
    mixture, done = setup.mixture(), []

    def work(step):
        setup.cuda._current.gpu = 0
        done.append(step())

    for step in (
        lambda: np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None]),
        lambda: done.append(backend.submit(mixture)),
        lambda: done[1].result(),
        backend.close,
    ):
        thread = threading.Thread(target=work, args=(step,))
        thread.start()
        thread.join()
    assert len(done) == 5 and setup.cuda.leaks() == []
