"""Building blocks of instruments: oscillators, envelopes, filters, reverb, panning.

Sounds are float64, full scale 1.0: [samples], or [2, samples] after panning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

FRAME = 1024  # samples per frame in `filtered_in_time`, with a hop of HOP samples
HOP = FRAME // 4


def saw(frequency: Float, rate: int, start: float = 0.0) -> Float:
    """A sawtooth of `frequency` [samples] in Hz, with smoothed steps against aliasing."""
    step = frequency / rate
    phase = (start + np.cumsum(step)) % 1.0
    wave = 2 * phase - 1
    after, before = phase < step, phase > 1 - step
    wave[after] -= _rounded(phase[after] / step[after])
    wave[before] += _rounded((1 - phase[before]) / step[before])
    return wave


def _rounded(t: Float) -> Float:
    return 2 * t - t * t - 1


def sine(frequency: Float, rate: int) -> Float:
    out: Float = np.sin(2 * np.pi * np.cumsum(frequency) / rate)
    return out


def fade(samples: int, rate: int, attack: float, release: float) -> Float:
    """An envelope that rises for `attack` seconds and falls in the last `release` seconds."""
    time = np.arange(samples) / rate
    return np.clip(np.minimum(time / attack, (samples / rate - time) / release), 0, 1)


def vibrato(samples: int, rate: int, depth: float, speed: float, delay: float) -> Float:
    """Pitch factors around 1, [samples]: relative `depth`, `speed` in Hz, starting after `delay` seconds."""
    time = np.arange(samples) / rate
    out: Float = 1 + depth * np.sin(2 * np.pi * speed * time) * np.clip((time - delay) / 0.3, 0, 1)
    return out


def lowpassed(wave: Float, rate: int, cutoff: float, order: int = 2) -> Float:
    """`wave` [..., samples] low-pass filtered at `cutoff` Hz, 6 dB per octave and `order`, without delay."""
    bins = np.fft.rfftfreq(wave.shape[-1], 1 / rate)
    out: Float = np.fft.irfft(np.fft.rfft(wave) / np.sqrt(1 + (bins / cutoff) ** (2 * order)), wave.shape[-1])
    return out


def highpassed(wave: Float, rate: int, cutoff: float, order: int = 2) -> Float:
    return wave - lowpassed(wave, rate, cutoff, order)


def filtered_in_time(wave: Float, gains: Float) -> Float:
    """`wave` [samples] through a time-varying filter: `gains` [frames, FRAME // 2 + 1], one row per HOP samples."""
    samples, frames = len(wave), len(gains)
    window = np.sqrt(np.hanning(FRAME + 1)[:-1] / 2)  # the squares of four overlapping windows sum to 1
    padded = np.pad(wave, (FRAME // 2, max(0, frames * HOP + FRAME - samples)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:frames] * window
    pieces = np.fft.irfft(np.fft.rfft(pieces) * gains) * window
    out = np.zeros(frames * HOP + FRAME)
    for i in range(FRAME // HOP):  # every fourth piece starts where the last one ends
        row = pieces[i :: FRAME // HOP].ravel()
        out[i * HOP : i * HOP + len(row)] += row
    out = out[FRAME // 2 :][:samples]
    return np.pad(out, (0, samples - len(out)))


def placed(wave: Float, position: float) -> Float:
    """Pan [samples] -> [2, samples] with constant power; `position` from -1 (left) to 1 (right)."""
    angle = (position + 1) * np.pi / 4
    return np.stack([np.cos(angle) * wave, np.sin(angle) * wave])


def in_a_room(rng: np.random.Generator, wave: Float, rate: int, seconds: float, amount: float) -> Float:
    """[2, samples] with reverb that decays by 60 dB in `seconds`, faster at high frequencies."""
    length = max(1, round(seconds * rate))
    time = np.arange(length) / rate
    echoes = rng.standard_normal((2, length)) * 10 ** (-3 * time / seconds)
    echoes = lowpassed(echoes, rate, rng.uniform(2500, 8000), 1)
    echoes[:, : round(rng.uniform(0.005, 0.03) * rate)] = 0
    echoes /= np.sqrt(np.square(echoes).sum(axis=1, keepdims=True)) + 1e-9
    size = 1 << (wave.shape[1] + length).bit_length()
    tail = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(echoes, size), size)[:, : wave.shape[1]]
    out: Float = wave + amount * tail
    return out


def add(out: Float, sound: Float, start: int) -> None:
    """Add `sound` to `out`, both [..., samples], from sample `start` on; the part beyond the end is cut off."""
    piece = sound[..., : max(0, out.shape[-1] - start)]
    out[..., start : start + piece.shape[-1]] += piece


def rms(wave: Float) -> float:
    """RMS of the loud part: samples below a tenth of the peak are ignored."""
    loud = wave[np.abs(wave) > 0.1 * np.abs(wave).max(initial=0)]
    return float(np.sqrt(np.square(loud).mean())) if loud.size else 0.0
