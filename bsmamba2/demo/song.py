"""A song whose stems are known: a formant voice that comes and goes over chords, bass and drums.

Everything is drawn from one seed. Arrays are [c, samples], full scale 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# First three formants of five vowels, Hz (Peterson & Barney 1952, averages of men's voices).
VOWELS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
PROGRESSION = ((0, 4, 7), (-3, 0, 4), (5, 9, 12), (-5, -1, 2))  # I vi IV V, semitones from the tonic
SCALE = (0, 2, 4, 7, 9)  # major pentatonic: every note fits every chord
TONIC = 220.0  # Hz


@dataclass(frozen=True)
class Song:
    vocals: NDArray[np.float32]
    accompaniment: NDArray[np.float32]
    sample_rate: int  # Hz

    @property
    def mixture(self) -> NDArray[np.float32]:
        return self.vocals + self.accompaniment


def make_song(seconds: float = 20.0, sample_rate: int = 44100, seed: int = 1) -> Song:
    """Two bars of four-four at 96 beats a minute for every chord; the voice sings some of the bars."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * sample_rate)
    beat = 60 / 96
    vocals = _voice(rng, samples, sample_rate, beat)
    band = (
        _chords(samples, sample_rate, beat)
        + _bass(samples, sample_rate, beat)
        + _drums(rng, samples, sample_rate, beat)
    )
    peak = np.abs(vocals + band).max() / 0.9
    return Song((vocals / peak).astype(np.float32), (band / peak).astype(np.float32), sample_rate)


def _voice(rng: np.random.Generator, samples: int, rate: int, beat: float) -> Float:
    out = np.zeros(samples)
    bars = int(samples / rate / (4 * beat)) + 1
    for bar in range(bars):
        if bar % 4 == 3:  # one bar in four is without voice
            continue
        for note in range(4):
            start = round((bar * 4 + note) * beat * rate)
            length = round(beat * rate * rng.uniform(0.6, 1.0))
            semitones = int(rng.choice(SCALE)) + 12 * int(rng.random() < 0.2)
            formants = VOWELS[str(rng.choice(list(VOWELS)))]
            sung = _sung_note(rng, length, rate, TONIC * 2 ** (semitones / 12), formants)
            end = min(start + length, samples)
            if end > start:
                out[start:end] += sung[: end - start]
    delay = round(0.012 * rate)
    echo = 0.15 * np.pad(out, (delay, 0))[:samples]
    return np.stack([0.3 * (out + echo), 0.3 * (out - echo)])


def _sung_note(rng: np.random.Generator, length: int, rate: int, pitch: float, formants: tuple[int, ...]) -> Float:
    """Harmonics of a glottal pulse shaped by formants, with vibrato, after a short consonant of noise."""
    time = np.arange(length) / rate
    vibrato = 1 + 0.012 * np.sin(2 * np.pi * 5.5 * time + rng.uniform(0, 6)) * np.clip(time / 0.25, 0, 1)
    phase = 2 * np.pi * np.cumsum(pitch * vibrato) / rate
    tone = np.zeros(length)
    for k in range(1, int(min(8000, rate / 2.2) / (pitch * 1.02)) + 1):
        shapes = zip(formants, (80, 100, 140), (1, 0.7, 0.4), strict=True)
        resonance = sum(gain / (1 + ((k * pitch - peak) / width) ** 2) for peak, width, gain in shapes)
        tone += (resonance + 0.02) / k**0.5 * np.sin(k * phase)
    breath = rng.standard_normal(length) * np.exp(-time / 0.03)
    return (tone * _envelope(length, rate, attack=0.04, release=0.08)) + 0.25 * (breath - np.roll(breath, 1))


def _envelope(length: int, rate: int, attack: float, release: float) -> Float:
    position = np.arange(length) / rate
    return np.clip(np.minimum(position / attack, (length / rate - position) / release), 0, 1)


def _chords(samples: int, rate: int, beat: float) -> Float:
    out = np.zeros((2, samples))
    length = round(8 * beat * rate)
    for number, start in enumerate(range(0, samples, length)):
        end = min(start + length, samples)
        time = np.arange(end - start) / rate
        for i, semitones in enumerate(PROGRESSION[number % len(PROGRESSION)]):
            pitch = TONIC * 2 ** (semitones / 12)
            for side, detune in enumerate((0.998, 1.002)):
                for k in range(1, 13):
                    gain = 0.05 / k**1.3 * (1 + 0.4 * np.sin(2 * np.pi * 0.3 * time + i))
                    out[side, start:end] += gain * np.sin(2 * np.pi * pitch * detune * k * time)
        out[:, start:end] *= _envelope(end - start, rate, attack=0.05, release=0.05)
    return out


def _bass(samples: int, rate: int, beat: float) -> Float:
    out = np.zeros(samples)
    length = round(beat * rate)
    for number, start in enumerate(range(0, samples, length)):
        end = min(start + length, samples)
        time = np.arange(end - start) / rate
        pitch = TONIC / 4 * 2 ** (PROGRESSION[number // 8 % len(PROGRESSION)][0] / 12)
        tone = sum(np.sin(2 * np.pi * pitch * k * time) / k**1.5 for k in range(1, 8))
        out[start:end] += 0.18 * tone * np.exp(-time / 0.4) * _envelope(end - start, rate, 0.005, 0.02)
    return np.stack([out, out])


def _drums(rng: np.random.Generator, samples: int, rate: int, beat: float) -> Float:
    out = np.zeros((2, samples))

    def hit(start: float, sound: Float, left: float, right: float) -> None:
        first = round(start * rate)
        piece = sound[: max(0, samples - first)]
        out[0, first : first + len(piece)] += left * piece
        out[1, first : first + len(piece)] += right * piece

    time = np.arange(round(0.25 * rate)) / rate
    kick = np.sin(2 * np.pi * (50 * time - 8 * np.exp(-time / 0.03))) * np.exp(-time / 0.08)
    for number in range(int(samples / rate / beat * 2) + 1):
        noise = rng.standard_normal(len(time))
        bright = noise - np.roll(noise, 1)
        if number % 2 == 0:
            if number // 2 % 2 == 0:
                hit(number * beat / 2, 0.5 * kick, 1, 1)
            else:
                hit(number * beat / 2, 0.16 * (noise + bright) * np.exp(-time / 0.07), 0.9, 1)
        hit(number * beat / 2, 0.05 * bright * np.exp(-time / 0.02), 1, 0.6)
    return out
