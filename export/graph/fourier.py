"""The Fourier transform of a frame and its inverse as two matrix products each.

One product with all factors would need n_fft * (n_fft + 2) of them, 17 MB at n_fft 2048; these need 1.6 MB and a tenth
of the operations. A frame of n_fft = rows * columns samples is a table x[n1, n2] with sample n1 * columns + n2 at
(n1, n2), and bin f1 + rows * f2 is

    X[f1, f2] = sum over n2 of  e(f2 n2 / columns) e(f1 n2 / n_fft)  sum over n1 of  e(f1 n1 / rows) x[n1, n2]

with e(x) = exp(-2 pi i x) (Cooley and Tukey, 1965, doi.org/10.2307/2003354). The window and the factors in the middle
are in the matrices. Real and imaginary parts are neighbours. All are made in float64 and returned in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


class Sizes(NamedTuple):
    """n_fft = rows * columns. `most` values of f2 cover the bins up to n_fft / 2, and some above."""

    rows: int
    columns: int

    @property
    def most(self) -> int:
        return self.columns // 2 + 1


def sizes_of(n_fft: int) -> Sizes:
    """Rows and columns of about the same number; that of the columns is even."""
    columns = min(size for size in range(2, n_fft + 1, 2) if n_fft % size == 0 and size**2 >= n_fft)
    return Sizes(n_fft // columns, columns)


def forward_factors(window: NDArray[Any]) -> tuple[Float, Float]:
    """For frames times `window` [n_fft]: [n2, n1, (f1, 2)] and [f1, (n2, 2), (f2, 2)]."""
    rows, columns = sizes = sizes_of(len(window))
    n1, f1 = np.ogrid[:rows, :rows]
    by_n2 = np.asarray(window, np.float64).reshape(rows, columns).T[:, :, None]
    inner = _parts(by_n2 * _e(f1 * n1, rows)).reshape(columns, rows, 2 * rows)
    return inner.astype(np.float32), _complex_product(_middle(sizes))


def inverse_factors(window: NDArray[Any]) -> tuple[Float, Float]:
    """For frames that are multiplied by `window` [n_fft]: [f1, (f2, 2), (n2, 2)] and [n2, (f1, 2), n1].

    The bins above n_fft / 2 have no effect, and as in irfft the imaginary parts of the first and last bin neither.
    """
    rows, columns = sizes = sizes_of(len(window))
    f1, f2, n1 = np.arange(rows)[:, None], np.arange(sizes.most), np.arange(rows)
    bins, last = f1 + rows * f2, len(window) // 2
    counts = np.where(bins < last, 2, 0)  # a bin stands for itself and its mirror image, except the first and the last
    counts[(bins == 0) | (bins == last)] = 1
    first = _middle(sizes).conj().swapaxes(1, 2) * counts[:, :, None] / len(window)
    turns = _e(f1 * n1, rows).conj()  # [f1, n1]
    second = np.stack([turns.real, -turns.imag], axis=1).reshape(2 * rows, rows)  # the real part of the product
    by_n2 = np.asarray(window, np.float64).reshape(rows, columns).T[:, None, :]
    return _complex_product(first), (second * by_n2).astype(np.float32)


def _middle(sizes: Sizes) -> NDArray[np.complex128]:
    """The factors of bin f1 + rows * f2 at n2, [f1, n2, f2]."""
    rows, columns = sizes
    f1, n2, f2 = np.ogrid[:rows, :columns, : sizes.most]
    return _e((f1 + rows * f2) * n2, rows * columns)


def _e(product: NDArray[Any], size: int) -> NDArray[np.complex128]:
    """exp(-2 pi i product / size) of whole numbers."""
    turns: NDArray[np.complex128] = np.exp(-2j * np.pi * (product % size) / size)
    return turns


def _parts(complexes: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.stack([complexes.real, complexes.imag], axis=-1)


def _complex_product(factors: NDArray[np.complex128]) -> Float:
    """[m, i, o] for complex numbers -> [m, (i, 2), (o, 2)] for their parts."""
    m, i, o = factors.shape
    return np.stack([_parts(factors), _parts(1j * factors)], axis=2).reshape(m, 2 * i, 2 * o).astype(np.float32)
