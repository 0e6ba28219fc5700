"""The Fourier transform of a frame and its inverse as a few small matrix products (Cooley and Tukey, 1965).

n_fft is a product of two or three radices. A stage with radix r replaces the digit n of a sample's number by the digit
f of a bin's number, the most significant digit of the samples first, which gives the least significant of the bins:

    y[F + P f] = sum over n of  exp(-2 pi i (F + P f) n / (P r))  x[F, n]

P is the product of the radices of earlier stages, and F, below P, the part of the bin's number that is known: a product
with a matrix for every F (doi.org/10.2307/2003354). Sums are short, and so their errors in float32 are small: less than
those of torch.stft, where a single product with all n_fft * (n_fft + 2) factors, 17 MB at n_fft 2048, has more. All
factors are made in float64 and returned in float32; real and imaginary parts are neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Complex = NDArray[np.complex128]


def radices_of(n_fft: int) -> list[int]:
    """Two or three factors of `n_fft`, the last one even, with the shortest sums; the first stage has real numbers."""
    divisors = [size for size in range(1, n_fft + 1) if n_fft % size == 0]
    choices = [(a, b, n_fft // (a * b)) for a in divisors for b in divisors if n_fft % (2 * a * b) == 0]
    return [radix for radix in min(choices, key=lambda each: (each[0] + 2 * each[1] + 2 * each[2], each)) if radix > 1]


def bins_of(radix: int) -> int:
    """The values of the last digit that cover the bins up to n_fft / 2."""
    return radix // 2 + 1


def forward_factors(n_fft: int) -> list[Float]:
    """One array a stage, [F, (n, 2), (f, 2)]; that of the first has no parts of n, which are real."""
    first, *later = _turns(n_fft)
    return [_parts(first).reshape(1, first.shape[1], -1).astype(np.float32), *map(_of_parts, later)]


def inverse_factors(n_fft: int) -> list[Float]:
    """The stages backwards, the last one first: [F, (f, 2), (n, 2)]; that of the first has no parts of n.

    The bins above n_fft / 2 have no effect, and as in irfft the imaginary parts of the first and last bin neither.
    """
    *earlier, last = (turns.conj().swapaxes(1, 2) for turns in _turns(n_fft))
    bins = np.arange(last.shape[0])[:, None] + last.shape[0] * np.arange(last.shape[1])
    counts = np.where(bins < n_fft // 2, 2, 0)  # a bin stands for itself and its mirror image, but for two of them:
    counts[(bins == 0) | (bins == n_fft // 2)] = 1
    first, *middle = earlier
    real = np.stack([first.real, -first.imag], axis=2).reshape(1, -1, first.shape[2])
    scaled = last * counts[:, :, None] / n_fft
    return [*map(_of_parts, (scaled, *reversed(middle))), real.astype(np.float32)]


def _turns(n_fft: int) -> list[Complex]:
    """The factors of every stage, [F, n, f]."""
    radices, known, stages = radices_of(n_fft), 1, list[Complex]()
    for i, radix in enumerate(radices):
        values = radix if i < len(radices) - 1 else bins_of(radix)
        at, n, f = np.ogrid[:known, :radix, :values]
        known_now = known * radix
        stages.append(np.exp(-2j * np.pi * ((at + known * f) * n % known_now) / known_now))
        known = known_now
    return stages


def _parts(complexes: Complex) -> NDArray[Any]:
    return np.stack([complexes.real, complexes.imag], axis=-1)


def _of_parts(factors: Complex) -> Float:
    """[F, i, o] for complex numbers -> [F, (i, 2), (o, 2)] for their parts."""
    m, i, o = factors.shape
    return np.stack([_parts(factors), _parts(1j * factors)], axis=2).reshape(m, 2 * i, 2 * o).astype(np.float32)
