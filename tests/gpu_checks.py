"""What tests/test_gpu.py measures and compares, without a GPU in it, so that it can be tested on the doubles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from runtime.backends import Backend
from runtime.backends.cuda import Cuda
from runtime.dsp.difference import TOLERANCES, Difference, difference

GAINS = (1.0, -0.5, 0.25, 0.75)  # of the chunks of a batch: none is another one, nor silent


def chunks(mixture: np.ndarray, batch: int) -> np.ndarray:
    """A batch of different chunks: `mixture`, shifted in time and with another gain.

    It is a spectrogram [1, t, f, c, 2] or a waveform [1, c, samples].
    """
    axis, step = (1, 7) if mixture.ndim == 5 else (2, 3001)
    shifted = [np.roll(mixture, step * i, axis) * np.float32(GAINS[i % len(GAINS)]) for i in range(batch)]
    return np.concatenate(shifted).astype(np.float32)


def worst_item(found: np.ndarray, expected: np.ndarray, precision: str) -> Difference:
    """The largest difference of an item of a batch [b, ...], each compared by itself. Raises AssertionError.

    An item that another one was taken for is beyond every tolerance.
    """
    assert found.shape == expected.shape, f"{found.shape}, expected {expected.shape}"
    tolerance, required = TOLERANCES[precision]
    each = [difference(found[i : i + 1], expected[i : i + 1]) for i in range(len(found))]
    for i, item in enumerate(each):
        assert item.max_error <= tolerance, f"item {i} of {len(each)}: error {item.max_error:.1e} of the peak"
        assert item.snr_db is None or item.snr_db >= required, f"item {i} of {len(each)}: SNR {item.snr_db:.0f} dB"
    return max(each, key=lambda item: item.max_error)


def milliseconds(run: Callable[[], object], rounds: int) -> float:
    """The median of `rounds` runs after two that warm up, and with them a CUDA graph."""
    run(), run()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


class GpuMemory:
    """Bytes of GPU memory taken since it was made, by all processes."""

    def __init__(self) -> None:
        self._cuda = Cuda()
        self._before = self._cuda.free_memory()

    def taken(self) -> int:
        return self._before - self._cuda.free_memory()

    def close(self) -> None:
        self._cuda.close()


def first_batch(opened: Callable[[], Backend], mixture: np.ndarray) -> tuple[float, float]:
    """Seconds to open a backend, and from there to its first stems. It is closed, and so keeps what it has compiled."""
    start = time.perf_counter()
    backend = opened()
    ready = time.perf_counter()
    backend.run(mixture)
    done = time.perf_counter()
    backend.close()
    return ready - start, done - ready
