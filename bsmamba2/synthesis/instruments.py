"""The instruments: drums, bass, chords and leads. Each function returns a whole part, [2, samples]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsmamba2.synthesis.sound import (
    FRAME,
    HOP,
    Float,
    add,
    fade,
    filtered_in_time,
    highpassed,
    lowpassed,
    placed,
    saw,
    sine,
    vibrato,
)


@dataclass(frozen=True)
class Score:
    """The score of a song. `tonic` in Hz; `scale` and chords in semitones above it; one chord per bar of four beats."""

    samples: int
    rate: int
    beat: float  # seconds
    tonic: float
    scale: tuple[int, ...]
    chords: tuple[tuple[int, ...], ...]

    @property
    def bars(self) -> int:
        return int(self.samples / self.rate / (4 * self.beat)) + 1

    def chord(self, bar: int) -> tuple[int, ...]:
        return self.chords[bar % len(self.chords)]

    def at(self, beats: float) -> int:
        """The sample index of a time in beats."""
        return round(beats * self.beat * self.rate)

    def pitch(self, semitones: float) -> float:
        return float(self.tonic * 2 ** (semitones / 12))


def drums(rng: np.random.Generator, score: Score) -> Float:
    """Kick, snare or clap, hats and toms in a pattern of sixteenths, with variations."""
    out = np.zeros((2, score.samples))
    steps = np.arange(16)
    kit = [
        (_kick(rng, score.rate), 0.0, 1.0, np.where(steps % 4 == 0, rng.choice([0.5, 1.0]), 0.12) * (steps % 8 != 4)),
        (_snare(rng, score.rate), rng.uniform(-0.2, 0.2), 0.7, np.where(steps % 8 == 4, 0.97, 0.04)),
        (_hat(rng, score.rate), rng.uniform(-0.6, 0.6), 0.3, np.where(steps % rng.choice([1, 2, 4]) == 0, 0.9, 0.1)),
        (_tom(rng, score.rate), rng.uniform(-0.7, 0.7), 0.6, np.where(steps >= 12, rng.choice([0.0, 0.15]), 0.0)),
    ]
    patterns = [rng.random(16) < chance for *_, chance in kit]
    swing = rng.choice([0.0, 0.0, 0.15])
    for bar in range(score.bars):
        for (sound, position, loud, chance), pattern in zip(kit, patterns, strict=True):
            played = pattern if rng.random() < 0.8 else rng.random(16) < chance
            for step in np.flatnonzero(played):
                start = score.at(bar * 4 + step / 4 + swing * (step % 2) / 4)
                add(out, placed(loud * rng.uniform(0.6, 1.0) * sound, position), start)
    return out


def _kick(rng: np.random.Generator, rate: int) -> Float:
    time = np.arange(round(0.3 * rate)) / rate
    pitch = rng.uniform(42, 60) + rng.uniform(80, 250) * np.exp(-time / rng.uniform(0.01, 0.04))
    click = rng.standard_normal(len(time)) * np.exp(-time / 0.004) * rng.uniform(0, 0.4)
    return sine(pitch, rate) * np.exp(-time / rng.uniform(0.06, 0.2)) + click


def _snare(rng: np.random.Generator, rate: int) -> Float:
    time = np.arange(round(0.3 * rate)) / rate
    body = sine(np.full(len(time), rng.uniform(150, 240)), rate) * np.exp(-time / 0.05) * rng.uniform(0, 0.8)
    wires = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.04, 0.12))
    return body + 0.6 * highpassed(wires, rate, rng.uniform(300, 1500))


def _hat(rng: np.random.Generator, rate: int) -> Float:
    time = np.arange(round(0.3 * rate)) / rate
    noise = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.015, 0.1))
    return highpassed(noise, rate, rng.uniform(5000, 8000), 4)


def _tom(rng: np.random.Generator, rate: int) -> Float:
    time = np.arange(round(0.5 * rate)) / rate
    pitch = rng.uniform(70, 180) * (1 + 0.5 * np.exp(-time / 0.05))
    return sine(pitch, rate) * np.exp(-time / rng.uniform(0.1, 0.25))


def bass(rng: np.random.Generator, score: Score) -> Float:
    """Roots and fifths, one or two octaves down."""
    out = np.zeros(score.samples)
    sort = rng.choice(["sine", "saw", "plucked"])
    pattern = [step for step in range(8) if step == 0 or rng.random() < rng.choice([0.2, 0.5, 0.9])]
    low = 2.0 ** -np.ceil(np.log2(score.tonic / 55))
    for bar in range(score.bars):
        for step, after in zip(pattern, [*pattern[1:], 8], strict=True):
            semitones = score.chord(bar)[int(rng.choice([0, 0, 0, 2]))]
            length = max(2, score.at((after - step) / 2 * rng.uniform(0.6, 1.0)))
            pitch = np.full(length, low * score.pitch(semitones))
            note = sine(pitch, score.rate) if sort == "sine" else saw(pitch, score.rate)
            if sort == "plucked":
                note = note * np.exp(-np.arange(length) / score.rate / 0.25)
            add(out, note * fade(length, score.rate, 0.006, 0.03), score.at(bar * 4 + step / 2))
    return placed(lowpassed(out, score.rate, rng.uniform(200, 1200)), rng.uniform(-0.1, 0.1))


def chords(rng: np.random.Generator, score: Score) -> Float:
    """Pads, organ, piano or strummed strings: sustained, or struck several times per bar."""
    out = np.zeros((2, score.samples))
    sort = rng.choice(["pad", "organ", "piano", "strings"])
    struck = sort in ("piano", "strings")
    strokes = [0.0, *sorted(rng.choice(np.arange(1, 8) / 2, rng.integers(0, 4), replace=False))] if struck else [0.0]
    octave = 12 * int(np.round(np.log2(220 / score.tonic)))
    bright = rng.uniform(1.0, 2.0)
    for bar in range(score.bars):
        for stroke in strokes:
            length = score.at(4 - stroke) if not struck else score.at(min(4 - stroke, rng.uniform(1, 3)))
            for i, semitones in enumerate(score.chord(bar)):
                tone = _note(rng, str(sort), score.pitch(semitones + octave), length, score.rate, bright)
                late = round(0.012 * i * score.rate) if sort == "strings" else 0
                add(out, placed(tone, (i - 1) * 0.5), score.at(bar * 4 + stroke) + late)
    return lowpassed(out, score.rate, rng.uniform(1500, 9000), 1)


def _note(rng: np.random.Generator, sort: str, pitch: float, samples: int, rate: int, bright: float) -> Float:
    time = np.arange(samples) / rate
    if sort == "pad":
        spread = rng.uniform(0.002, 0.008)
        tone = sum(saw(np.full(samples, pitch * (1 + d * spread)), rate, rng.random()) for d in (-1, 0, 1))
        return np.asarray(tone) * 0.3 * fade(samples, rate, 0.15, 0.2)
    tone = np.zeros(samples)
    for k in range(1, min(24, int(rate / 2.2 / pitch)) + 1):
        partial = np.sin(2 * np.pi * pitch * k * np.sqrt(1 + 4e-4 * k * k if sort == "piano" else 1) * time)
        if sort == "organ":
            tone += partial * (k in (1, 2, 3, 4, 6, 8)) * 0.5 / bright**k
        else:  # high partials decay first
            tone += partial * np.exp(-time * (1 + 0.6 * k)) / k**bright
    return tone * fade(samples, rate, 0.004 if sort != "organ" else 0.02, 0.05)


def lead(rng: np.random.Generator, score: Score) -> Float:
    """A synthesiser arpeggio or melody. Some have vibrato, so that vibrato alone does not identify a voice."""
    out = np.zeros(score.samples)
    sung, square = rng.random() < 0.5, rng.random() < 0.5
    grid = rng.choice([0.5, 1.0]) if sung else rng.choice([0.25, 0.5])
    octave = 12 * int(np.round(np.log2(440 / score.tonic)))
    shape = (rng.uniform(0.004, 0.02), rng.uniform(4, 7), 0.1)
    for bar in range(score.bars):
        if rng.random() < 0.35:
            continue
        for step in range(int(4 / grid)):
            if rng.random() < 0.25:
                continue
            tones = score.scale if sung else score.chord(bar)
            semitones = tones[int(rng.integers(len(tones)))] + octave + 12 * int(rng.random() < 0.2)
            length = max(2, score.at(grid * rng.uniform(0.5, 1.0)))
            pitch = score.pitch(semitones) * (vibrato(length, score.rate, *shape) if sung else np.ones(length))
            tone = saw(pitch, score.rate)
            if square:
                tone = tone - saw(pitch, score.rate, 0.5)
            add(out, tone * fade(length, score.rate, 0.01, 0.04), score.at(bar * 4 + step * grid))
    return placed(lowpassed(out, score.rate, rng.uniform(1200, 6000)), rng.uniform(-0.5, 0.5))


def riser(rng: np.random.Generator, score: Score) -> Float:
    """Noise with a rising centre frequency, one or two bars long."""
    samples = min(score.samples, score.at(float(rng.choice([4, 8]))))
    frames = samples // HOP + 1
    centre = np.geomspace(300, 9000, frames)[:, None]
    bins = np.maximum(np.fft.rfftfreq(FRAME, 1 / score.rate), 1)
    wave = filtered_in_time(rng.standard_normal(samples), np.exp(-0.5 * (np.log2(bins / centre) / 0.4) ** 2))
    out = np.zeros((2, score.samples))
    wave *= np.linspace(0, 1, samples)
    add(out, np.stack([wave, np.roll(wave, 200)]), int(rng.integers(max(1, score.samples - samples))))
    return out
