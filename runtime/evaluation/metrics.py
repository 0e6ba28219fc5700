"""Quality of an estimated stem, given the true one. Arrays are [c, samples], full scale 1.0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.errors import OptionError

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

DELTA = 1e-7  # as in the official code: keeps the SDR of a silent reference finite

# For bleedless and fullness, as in MSST.
N_FFT, HOP, MELS = 4096, 1024, 512
FLOOR, RANGE_DB = 1e-10, 80.0
FRAMES = 256  # spectra per step


def usdr(reference: Float, estimate: Float) -> float:
    """Signal-to-distortion ratio in dB over a whole track (paper IV.B; official `compute_usdr`).

    Raises OptionError when the two differ in shape.
    """
    _require_one_shape(reference, estimate)
    signal, error = _energy(reference), _energy(reference - estimate)
    return 10 * float(np.log10((signal + DELTA) / (error + DELTA)))


def window_sdr(reference: Float, estimate: Float, window: int) -> Float64:
    """SDR of each window of `window` samples, [windows]; NaN if either is silent; a shorter last window is left out.

    Equals museval's bss_eval (version 4, images) for a single target, where it is the plain ratio of energies.
    """
    _require_one_shape(reference, estimate)
    count = reference.shape[1] // window

    def energies(wave: Float) -> Float64:
        pieces = wave[:, : count * window].reshape(len(wave), count, window)
        out: Float64 = np.einsum("cwn,cwn->w", pieces, pieces, dtype=np.float64)
        return out

    signal, given, error = energies(reference), energies(estimate), energies(reference - estimate)
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Float64 = 10 * np.log10(signal / error)
    out[(signal == 0) | (given == 0)] = np.nan
    return out


def csdr(reference: Float, estimate: Float, sample_rate: int) -> float:
    """Median of the SDR of 1 s windows (paper IV.B); NaN if no window has sound in both."""
    found = window_sdr(reference, estimate, sample_rate)
    found = found[~np.isnan(found)]
    return float(np.median(found)) if found.size else float("nan")


def si_sdr(reference: Float, estimate: Float) -> float:
    """Scale-invariant SDR (Le Roux et al. 2019, without removing the mean)."""
    _require_one_shape(reference, estimate)
    target = float((_product(reference, estimate) + DELTA) / (_energy(reference) + DELTA)) * reference
    return 10 * float(np.log10((_energy(target) + DELTA) / (_energy(target - estimate) + DELTA)))


def bleedless_and_fullness(reference: Float, estimate: Float, sample_rate: int) -> tuple[float, float]:
    """From 0 to 100: absence of sound that does not belong to the stem, and completeness of the stem.

    100 / (1 + mean dB above, or below, the reference) over 512 mel bands and all frames; levels are limited to 80 dB
    below each signal's maximum. Source: ZFTurbo's Music-Source-Separation-Training, `bleed_full`. The official BSMamba2
    code swaps reference and estimate, which swaps the two figures.
    """
    _require_one_shape(reference, estimate)
    bank = _slaney_bank(sample_rate)
    difference = _mel_db(estimate, bank) - _mel_db(reference, bank)
    above, below = difference[difference > 0], difference[difference < 0]
    bleedless = 100 / (1 + float(above.mean())) if above.size else 100.0
    fullness = 100 / (1 - float(below.mean())) if below.size else 100.0
    return bleedless, fullness


def _mel_db(wave: Float, bank: Float) -> Float:
    """[c, samples] -> [frames, c, MELS], dB."""
    padded = np.pad(wave, ((0, 0), (N_FFT // 2, N_FFT // 2)))
    taper = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=1)[:, ::HOP].swapaxes(0, 1)
    parts = [
        np.abs(np.fft.rfft(pieces[first : first + FRAMES] * taper)).astype(np.float32) @ bank
        for first in range(0, len(pieces), FRAMES)
    ]
    levels: Float = 20 * np.log10(np.maximum(np.concatenate(parts), FLOOR))
    out: Float = np.maximum(levels, levels.max() - RANGE_DB)
    return out


def _slaney_bank(sample_rate: int) -> Float:
    """Triangular mel bands of equal area, 0 Hz to Nyquist, [bins, MELS] (Slaney's Auditory Toolbox)."""
    step, corner, ratio = 200 / 3, 1000.0, np.log(6.4) / 27  # linear below the corner, logarithmic above
    top = corner / step + np.log(sample_rate / 2 / corner) / ratio
    mels = np.linspace(0, top, MELS + 2)
    hertz = np.where(mels < corner / step, mels * step, corner * np.exp(ratio * (mels - corner / step)))
    low, centre, high = hertz[:-2], hertz[1:-1], hertz[2:]
    bins = np.fft.rfftfreq(N_FFT, 1 / sample_rate)[:, None]
    triangles = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    out: Float = (triangles * 2 / (high - low)).astype(np.float32)
    return out


def _energy(wave: Float) -> float:
    return _product(wave, wave)


def _product(one: Float, other: Float) -> float:
    """Summed in float64, without converting a long song to it."""
    return float(np.einsum("cn,cn->", one, other, dtype=np.float64))


def _require_one_shape(reference: Float, estimate: Float) -> None:
    if reference.shape != estimate.shape:
        raise OptionError(f"SDR of an estimate {estimate.shape}: expected the shape of the reference {reference.shape}")
