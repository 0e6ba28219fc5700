"""The mel spectrogram and the waveform of a sound, computed in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.floating[Any]]
Float = NDArray[np.float64]

BANDS = 128
COLUMNS = 2048  # most columns of a picture; an even number
WINDOW = 0.093  # s, of one spectrum: long enough to resolve the harmonics of a voice
FRAMES = 64  # spectra computed at a time
TOP = 22050.0  # Hz: nothing above it is audible


@dataclass(frozen=True)
class Picture:
    """A sound in columns of equal length; the last one may extend past the end."""

    seconds: float  # of the whole sound
    column: float  # s
    power: Float  # [columns, BANDS], mean power in each band
    low: Float  # [columns], smallest sample of any channel, full scale 1.0
    high: Float  # [columns], largest
    energy: Float  # [columns], mean square of the samples
    centres: Float  # [BANDS], Hz


class Sketch:
    """Computes the picture of one sound, block by block.

    There are at most `COLUMNS` columns: when all are used, each pair of neighbours is merged into one. So memory does
    not grow with the sound, and its length need not be known.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self._window = max(16, 1 << round(np.log2(WINDOW * sample_rate)))
        self._hop = self._window // 4
        self._taper = np.hanning(self._window + 1)[:-1].astype(np.float32)
        self._centres, self._bank = mel_bank(sample_rate, self._window)
        self._columns = _Columns()
        self._samples = 0
        # What the next window starts with; the first window is centred on the first column.
        self._lead = (self._window - self._hop) // 2
        self._buffer = np.zeros((channels, self._lead), np.float32)

    def add(self, block: Samples) -> None:
        """The next [c, n], full scale 1.0."""
        self._samples += block.shape[1]
        self._buffer = np.concatenate([self._buffer, block.astype(np.float32)], axis=1)
        self._take_windows()

    def picture(self) -> Picture:
        """The picture of what was added; nothing can be added afterwards. Raises ValueError if nothing was added."""
        if not self._samples:
            raise ValueError("a picture of no samples")
        missing = -(-self._samples // self._hop) - self._columns.hops
        if missing > 0:  # the last windows extend past the end
            needed = self._window + (missing - 1) * self._hop - self._buffer.shape[1]
            self._buffer = np.pad(self._buffer, ((0, 0), (0, needed)))
            self._take_windows()
        columns = self._columns
        count = -(-columns.hops // columns.span)
        hops = np.full(count, columns.span)
        hops[-1] = columns.hops - (count - 1) * columns.span
        return Picture(
            seconds=self._samples / self.sample_rate,
            column=columns.span * self._hop / self.sample_rate,
            power=columns.power[:count] / hops[:, None],
            low=columns.low[:count],
            high=columns.high[:count],
            energy=columns.energy[:count] / hops,
            centres=self._centres,
        )

    def _take_windows(self) -> None:
        """Adds every complete window in the buffer, one per hop."""
        if self._buffer.shape[1] < self._window:
            return
        windows = np.lib.stride_tricks.sliding_window_view(self._buffer, self._window, axis=1)[:, :: self._hop]
        for first in range(0, windows.shape[1], FRAMES):
            some = windows[:, first : first + FRAMES]  # [c, frames, window]
            power = (np.abs(np.fft.rfft(some * self._taper)) ** 2).mean(axis=0)  # [frames, bins]
            middle = some[..., self._lead : self._lead + self._hop]
            self._columns.add(
                power @ self._bank, middle.min(axis=(0, 2)), middle.max(axis=(0, 2)), (middle**2).mean(axis=(0, 2))
            )
        self._buffer = self._buffer[:, windows.shape[1] * self._hop :].copy()


class _Columns:
    """Sums and extremes over `span` hops each."""

    def __init__(self) -> None:
        self.hops = 0
        self.span = 1
        self.power = np.zeros((COLUMNS, BANDS))
        self.energy = np.zeros(COLUMNS)
        self.low = np.full(COLUMNS, np.inf)
        self.high = np.full(COLUMNS, -np.inf)

    def add(self, power: Samples, low: Samples, high: Samples, energy: Samples) -> None:
        """The next hops: [n, BANDS] and three times [n]."""
        done = 0
        while done < len(power):
            if self.hops == COLUMNS * self.span:
                self._halve()
            now = slice(done, done + COLUMNS * self.span - self.hops)
            count = len(power[now])
            column = (self.hops + np.arange(count)) // self.span
            np.add.at(self.power, column, power[now])
            np.add.at(self.energy, column, energy[now])
            np.minimum.at(self.low, column, low[now])
            np.maximum.at(self.high, column, high[now])
            self.hops += count
            done += count

    def _halve(self) -> None:
        half = COLUMNS // 2
        self.power[:half] = self.power[::2] + self.power[1::2]
        self.energy[:half] = self.energy[::2] + self.energy[1::2]
        self.low[:half] = np.minimum(self.low[::2], self.low[1::2])
        self.high[:half] = np.maximum(self.high[::2], self.high[1::2])
        self.power[half:], self.energy[half:], self.low[half:], self.high[half:] = 0, 0, np.inf, -np.inf
        self.span *= 2


def mel(hertz: Float) -> Float:
    """Hz to mel, as in HTK."""
    return 2595 * np.log10(1 + hertz / 700)


def mel_bank(sample_rate: int, window: int) -> tuple[Float, NDArray[np.float32]]:
    """Triangular bands, evenly spaced in mel from 0 Hz to the highest audible frequency.

    Returns their centres, Hz [BANDS], and the weight of each bin of a spectrum of `window` samples in each band, [bins,
    BANDS]; the weights of a band sum to 1. A band is never narrower than its nearest bins, so none is empty.
    """
    top = float(mel(np.array(min(sample_rate / 2, TOP))))
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bin_ = sample_rate / window
    hertz = np.arange(window // 2 + 1)[:, None] * bin_
    rise = (hertz - centre) / np.maximum(centre - low, bin_)
    fall = (centre - hertz) / np.maximum(high - centre, bin_)
    weights = np.maximum(0, 1 + np.minimum(rise, fall))
    return centre, (weights / weights.sum(axis=0)).astype(np.float32)
