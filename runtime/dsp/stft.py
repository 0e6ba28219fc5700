"""Short-time Fourier transform and its inverse in numpy, equal to torch.stft and torch.istft.

Centred, reflect padding, periodic Hann window in the middle of n_fft samples, one-sided. The hop need not divide
n_fft. Axes: b batch, s stems, c audio channels, t frames, f bins; samples last in a waveform.

Frames are taken in blocks that fit a core's cache, and runs of frames go to threads; the sums of the overlap-add have
one order whatever the blocks, so that results do not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine import manifest
from runtime.engine.cpu import default_threads

Float = NDArray[np.float32]
Complex = NDArray[np.complex64]

# Samples transformed at a time, all channels counted. With smaller blocks threads often wait for the interpreter, which
# one of them uses at a time; with larger ones a core's cache does not hold them and their bins.
BLOCK = 1 << 17
MAX_THREADS = 8  # the whole work is some milliseconds


class Stft:
    """Transform between waveforms [..., c, samples] and spectrograms [..., t, f, c, 2], real and imaginary last.

    Threads are started for a call and end with it; the caller's is one of them.
    """

    def __init__(
        self,
        n_fft: int,
        hop_length: int,
        win_length: int | None = None,
        normalized: bool = False,
        threads: int | None = None,
    ) -> None:
        """`win_length`: of the window, None for n_fft. `normalized`: spectrograms are divided by sqrt(n_fft).

        `threads`: how many compute at a time, at most `MAX_THREADS` (None: one per core that the process may use).
        """
        self.n_fft = n_fft
        self.hop_length = hop_length
        length = n_fft if win_length is None else win_length
        phase = 2 * np.pi * np.arange(length) / length
        before = (n_fft - length) // 2
        window = np.pad(0.5 - 0.5 * np.cos(phase), (before, n_fft - length - before)).astype(np.float32)
        scale = np.float32(n_fft**-0.5 if normalized else 1.0)
        self.window = window
        self._hops = -(-n_fft // hop_length)  # that a window covers, the last one perhaps in part
        covered = np.pad(window, (0, self._hops * hop_length - n_fft))
        self._analysis = window * scale
        self._synthesis = covered / scale
        self._squared = np.square(covered).reshape(self._hops, hop_length)
        self._weight = np.empty((0, hop_length), np.float32)
        self._threads = min(MAX_THREADS, threads or default_threads() or os.cpu_count() or 1)

    @classmethod
    def of(cls, stft: manifest.Stft, threads: int | None = None) -> Stft:
        """The transform that a manifest describes."""
        return cls(stft.n_fft, stft.hop_length, stft.win_length, stft.normalized, threads)

    def frames(self, samples: int) -> int:
        return 1 + samples // self.hop_length

    def forward(self, wave: Float, out: Float | None = None) -> Float:
        """[..., c, samples] -> [..., t, f, c, 2] with t = 1 + samples // hop_length, in `out` if given (contiguous).

        Raises ValueError unless samples > n_fft / 2, which reflection needs.
        """
        *leading, channels, samples = wave.shape
        half = self.n_fft // 2
        if samples <= half:
            raise ValueError(f"{samples} samples: an STFT of n_fft {self.n_fft} needs more than {half}")
        waves = wave.reshape(-1, channels, samples)
        padded = np.pad(waves, ((0, 0), (0, 0), (half, half)), mode="reflect")
        cut = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft, axis=-1)[..., :: self.hop_length, :]
        shape = self.frames(samples), half + 1, channels
        if out is None:
            out = np.empty((*leading, *shape, 2), np.float32)
        spectra = out.view(np.complex64).reshape(-1, *shape)
        self._share(shape[0], len(waves), lambda n, run: self._transform(cut[n, :, run], spectra[n, run]))
        return out

    def _transform(self, cut: Float, spectrum: Complex) -> None:
        """Frames [c, t, n_fft] -> `spectrum` [t, f, c]."""
        channels, t, _ = cut.shape
        size = self._block(channels, t)
        pieces = np.empty((channels, size, self.n_fft))  # float64: the network enlarges the rounding of quiet bins
        bins = np.empty((channels, size, spectrum.shape[1]), np.complex128)
        for first in range(0, t, size):
            here = slice(first, first + size)
            piece, found = pieces[:, : t - first], bins[:, : t - first]
            np.multiply(cut[:, here], self._analysis, out=piece)
            np.fft.rfft(piece, out=found)
            for channel in range(channels):  # four times as fast as all at once
                spectrum[here, :, channel] = found[channel]

    def inverse(self, spectrum: Float) -> Float:
        """[..., t, f, c, 2] -> [..., c, hop_length * (t - 1)]."""
        *leading, t, _, channels, _ = spectrum.shape
        bins = np.ascontiguousarray(spectrum, np.float32).view(np.complex64).reshape(-1, *spectrum.shape[-4:-1])
        weight = self._weight_of(t)
        waves = np.zeros((len(bins), channels, *weight.shape), np.float32)
        self._share(len(weight), len(bins), lambda n, run: self._overlap_add(bins[n], weight, waves[n], run))
        half, samples = self.n_fft // 2, self.hop_length * (t - 1)
        return waves.reshape(*leading, channels, -1)[..., half : half + samples]

    def _overlap_add(self, bins: Complex, weight: Float, wave: Float, run: slice) -> None:
        """Bins [t, f, c] -> the columns `run` of `wave` [c, columns, hop], which are zero."""
        first, last = max(0, run.start - self._hops + 1), min(len(bins), run.stop)
        channels, size = len(wave), self._block(len(wave), last - first)
        spectra = np.empty((channels, size, bins.shape[1]), np.complex64)
        # Of any type: numpy's stubs take irfft to give float64.
        pieces: NDArray[Any] = np.zeros((channels, size, len(self._synthesis)), np.float32)
        for start in range(first, last, size):
            stop = min(start + size, last)
            spectrum, piece = spectra[:, : stop - start], pieces[:, : stop - start]
            for channel in range(channels):
                spectrum[channel] = bins[start:stop, :, channel]
            np.fft.irfft(spectrum, self.n_fft, out=piece[..., : self.n_fft])
            piece *= self._synthesis
            parts = piece.reshape(channels, stop - start, self._hops, self.hop_length)
            for late in reversed(range(self._hops)):  # so that each column gets its frames from the first to the last
                here = slice(max(run.start, start + late), min(run.stop, stop + late))
                if here.start < here.stop:
                    wave[:, here] += parts[:, here.start - late - start : here.stop - late - start, late]
        wave[:, run] /= weight[run]

    def _weight_of(self, t: int) -> Float:
        """The sum of the squared windows of t frames, in columns of a hop: [t - 1 + hops, hop]; kept for the next."""
        columns = t - 1 + self._hops
        if len(self._weight) != columns:
            weight = np.zeros((columns, self.hop_length), np.float32)
            for late in reversed(range(self._hops)):
                weight[late : late + t] += self._squared[late]
            self._weight = np.where(weight > 0, weight, np.float32(1))  # where no window reaches there is no sound
        return self._weight

    def _block(self, channels: int, frames: int) -> int:
        """How many of `frames` are transformed at a time."""
        return min(frames, max(1, BLOCK // (channels * self.n_fft)))

    def _share(self, length: int, count: int, work: Callable[[int, slice], None]) -> None:
        """Call `work(n, run)` for runs that cover `length` frames of each of `count` waveforms, in threads.

        Runs are several windows long, as neighbours transform the frames of a window twice.
        """
        wanted = -(-2 * self._threads // count) if self._threads > 1 else 1  # two a thread: one may start late
        parts = max(1, min(wanted, length // (8 * self._hops)))
        ends = [length * i // parts for i in range(parts + 1)]
        runs: SimpleQueue[tuple[int, slice]] = SimpleQueue()
        for n in range(count):
            for start, stop in pairwise(ends):
                runs.put((n, slice(start, stop)))

        def take() -> None:
            while True:
                try:
                    run = runs.get_nowait()
                except Empty:
                    return
                work(*run)

        others = min(self._threads, count * parts) - 1
        if not others:
            take()
            return
        with ThreadPoolExecutor(others) as pool:
            taking = [pool.submit(copy_context().run, take) for _ in range(others)]  # the context has np.errstate
            take()
        for each in taking:
            each.result()
