"""Short-time Fourier transform and its inverse in numpy, equal to torch.stft and torch.istft.

Centred, reflect padding, periodic Hann window in the middle of n_fft samples, one-sided. The hop need not divide
n_fft. Axes: b batch, s stems, c audio channels, t frames, f bins; samples last in a waveform.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.engine import manifest

Float = NDArray[np.float32]


class Stft:
    """Transform between waveforms [..., c, samples] and spectrograms [..., t, f, c, 2], real and imaginary last."""

    def __init__(self, n_fft: int, hop_length: int, win_length: int | None = None, normalized: bool = False) -> None:
        """`win_length`: of the window, None for n_fft. `normalized`: spectrograms are divided by sqrt(n_fft)."""
        self.n_fft = n_fft
        self.hop_length = hop_length
        length = n_fft if win_length is None else win_length
        phase = 2 * np.pi * np.arange(length) / length
        before = (n_fft - length) // 2
        window = np.pad(0.5 - 0.5 * np.cos(phase), (before, n_fft - length - before))
        self.window = window.astype(np.float32)
        self._scale = np.float32(n_fft**-0.5 if normalized else 1.0)

    @classmethod
    def of(cls, stft: manifest.Stft) -> Stft:
        """The transform that a manifest describes."""
        return cls(stft.n_fft, stft.hop_length, stft.win_length, stft.normalized)

    def frames(self, samples: int) -> int:
        return 1 + samples // self.hop_length

    def forward(self, wave: Float) -> Float:
        """[..., c, samples] -> [..., t, f, c, 2] with t = 1 + samples // hop_length.

        Raises ValueError unless samples > n_fft / 2, which reflection needs.
        """
        half = self.n_fft // 2
        if wave.shape[-1] <= half:
            raise ValueError(f"{wave.shape[-1]} samples: an STFT of n_fft {self.n_fft} needs more than {half}")
        padded = np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(half, half)], mode="reflect")
        cut = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft, axis=-1)[..., :: self.hop_length, :]
        spectrum = np.fft.rfft(cut * (self.window * self._scale)).astype(np.complex64, copy=False)  # [..., c, t, f]
        last = np.ascontiguousarray(np.moveaxis(spectrum, -3, -1))
        return last.view(np.float32).reshape(*last.shape, 2)

    def inverse(self, spectrum: Float) -> Float:
        """[..., t, f, c, 2] -> [..., c, hop_length * (t - 1)]."""
        t = spectrum.shape[-4]
        complexes = np.ascontiguousarray(spectrum, np.float32).view(np.complex64)[..., 0]
        unwindowed = np.fft.irfft(np.moveaxis(complexes, -1, -3), n=self.n_fft)  # [..., c, t, n_fft]
        pieces = unwindowed.astype(np.float32, copy=False) * (self.window / self._scale)
        total = self.hop_length * (t - 1) + self.n_fft
        wave = np.zeros((*pieces.shape[:-2], total), np.float32)
        weight = np.zeros(total, np.float32)
        for i in range(t):
            here = slice(i * self.hop_length, i * self.hop_length + self.n_fft)
            wave[..., here] += pieces[..., i, :]
            weight[here] += np.square(self.window)
        half = self.n_fft // 2
        np.divide(wave, weight, out=wave, where=weight > 0)
        return wave[..., half : total - half]
