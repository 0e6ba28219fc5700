"""What `make test-gpu` measures and compares, on the doubles."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_double import CudaDouble
from gpu_checks import GpuMemory, chunks, first_batch, milliseconds, worst_item


def test_chunks_of_a_batch_differ(setup):
    mixture = setup.mixture()
    batch = chunks(mixture, 6)
    assert batch.shape == (6, *mixture.shape[1:]) and batch.dtype == np.float32
    np.testing.assert_array_equal(batch[0], mixture[0])
    for i in range(6):
        for j in range(i):
            assert np.abs(batch[i] - batch[j]).max() > 0.1


def test_mixed_up_items_fail(setup):
    with setup.open() as backend:
        batch = chunks(setup.mixture(), 4)
        expected = 0.5 * batch[:, None]
        stems = backend.run(batch)
        assert worst_item(stems, expected, "fp32").max_error == 0
        for order in ([1, 0, 2, 3], [0, 1, 3, 2], [0, 0, 2, 3]):
            for precision in ("fp32", "fp16", "bf16"):
                with pytest.raises(AssertionError, match=r"item \d of 4: error .* of the peak"):
                    worst_item(stems[order], expected, precision)
        with pytest.raises(AssertionError, match="item 3 of 4: error 1.0e-04"):  # though the whole batch hides it
            worst_item(
                stems + np.float32([0, 0, 0, 1e-4])[:, None, None, None, None, None] * np.abs(expected[3]).max(),
                expected,
                "fp32",
            )
        with pytest.raises(AssertionError, match="expected"):
            worst_item(stems[:3], expected, "fp32")


def test_memory_is_what_was_taken(setup):
    meter = GpuMemory()
    assert meter.taken() == 0
    with setup.open() as backend:
        assert meter.taken() == 0
        backend.run(setup.mixture(2))
        assert meter.taken() == 4 * 4 * setup.mixture(2).size + 2 * 4096  # the network's own, and the slot's
    assert meter.taken() == 0
    meter.close()
    assert setup.cuda.leaks() == []


def test_a_first_batch_closes_its_backend_and_keeps_the_kernels(rtx):
    for kept in (0, 1):
        assert len(list((rtx.plan.parent / "cache").glob("kernels/*"))) == kept
        opening, running = first_batch(rtx.open, rtx.mixture())
        assert opening > 0 and running > 0 and rtx.cuda.leaks() == []


def test_latency_is_a_median_after_two_warm_runs(monkeypatch):
    monkeypatch.setattr("gpu_checks.time.perf_counter", iter([0, 1, 10, 12, 20, 29]).__next__)
    runs = []
    assert milliseconds(lambda: runs.append(1), 3) == 2000
    assert len(runs) == 5


def test_the_double_counts_its_memory():
    cuda = CudaDouble(memory=4096)
    assert cuda.cudaMemGetInfo()[1:] == (4096, 4096)
    _, address = cuda.cudaMalloc(1024)
    assert cuda.cudaMemGetInfo()[1:] == (3072, 4096)
    cuda.cudaFree(address)
    assert cuda.cudaMemGetInfo()[1:] == (4096, 4096)
