"""A singing or speaking voice: a sawtooth source through five moving formants, and consonants of filtered noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsmamba2.synthesis.sound import FRAME, HOP, Float, filtered_in_time, saw

# First three formants of vowels, Hz (Peterson & Barney 1952, averages of men's voices).
VOWELS = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
    (660, 1720, 2410),
    (490, 1350, 1690),
)
WIDTHS = (80, 100, 130, 200, 250)  # Hz
# Noise of consonants: centre in Hz, width in octaves, loudness, seconds.
CONSONANTS = (
    (6500, 0.8, 0.5, 0.10),  # s
    (3200, 0.9, 0.5, 0.10),  # sh
    (5000, 2.0, 0.25, 0.08),  # f
    (3800, 1.5, 0.7, 0.025),  # t
    (1800, 1.2, 0.7, 0.03),  # k
    (700, 1.5, 0.6, 0.02),  # p
    (2500, 2.5, 0.12, 0.06),  # h
)
REGISTERS = {"bass": (82, 0.95), "tenor": (130, 1.0), "alto": (196, 1.12), "soprano": (262, 1.2)}  # lowest Hz, formants


@dataclass(frozen=True)
class Singer:
    """The properties of a singer. `scale` multiplies the formants, `vibrato` is relative to the pitch."""

    lowest: float
    scale: float
    vibrato: float
    speed: float  # of the vibrato, Hz
    breath: float
    tilt: float  # dB per octave, in addition to that of a sawtooth


def any_singer(rng: np.random.Generator) -> Singer:
    lowest, scale = REGISTERS[str(rng.choice(list(REGISTERS)))]
    return Singer(
        lowest=lowest * 2 ** rng.uniform(-0.2, 0.2),
        scale=scale * rng.uniform(0.93, 1.07),
        vibrato=rng.choice([0.0, 0.008, 0.015, 0.025]),
        speed=rng.uniform(4.5, 6.5),
        breath=rng.uniform(0.02, 0.25),
        tilt=rng.uniform(0, 6),
    )


@dataclass(frozen=True)
class Syllable:
    """`start` and `seconds` within the phrase; `pitch` in Hz at its beginning and end."""

    start: float
    seconds: float
    pitch: tuple[float, float]


def phrase(rng: np.random.Generator, singer: Singer, syllables: list[Syllable], rate: int, spoken: bool) -> Float:
    """[samples]: the syllables, most with a consonant and a vowel, with gliding pitch and formants."""
    seconds = max(s.start + s.seconds for s in syllables) + 0.15
    frames = int(seconds * rate / HOP) + 1
    time = np.arange(frames) * HOP / rate
    pitch = np.full(frames, syllables[0].pitch[0])
    voiced, noise = np.zeros(frames), np.zeros(frames)
    centre, width = np.full(frames, 3000.0), np.full(frames, 1.0)
    formants = np.tile(_vowel(rng, singer), (frames, 1))
    for syllable in syllables:
        first = syllable.start
        if rng.random() < (0.85 if spoken else 0.6):
            hertz, octaves, loud, length = CONSONANTS[rng.integers(len(CONSONANTS))]
            length = min(length * rng.uniform(0.7, 1.3), syllable.seconds / 2)
            at = (time >= first) & (time < first + length)
            noise[at] = loud * rng.uniform(0.5, 1.2)
            centre[time >= first] = hertz * rng.uniform(0.9, 1.1)
            width[time >= first] = octaves
            first += length
        last = syllable.start + syllable.seconds * (rng.uniform(0.75, 0.95) if spoken else 0.97)
        at = (time >= first) & (time < last)
        count = int(at.sum())
        voiced[at] = rng.uniform(0.6, 1.0) * np.linspace(1, rng.uniform(0.5, 1.0), count)
        formants[time >= first] = _vowel(rng, singer)
        glide = np.linspace(*syllable.pitch, count)
        beat = singer.vibrato * np.sin(2 * np.pi * singer.speed * (time[at] - first))
        pitch[time >= first] = syllable.pitch[1]
        pitch[at] = glide * (1 + (0 if spoken else beat * np.clip((time[at] - first - 0.15) / 0.3, 0, 1)))
    pitch, voiced, noise = _smooth(pitch, 5), _smooth(voiced, 4), _smooth(noise, 2)
    formants = np.stack([_smooth(track, 9) for track in formants.T], axis=1)
    mouth, hiss = _envelope(formants, rate, singer.tilt), _band(centre, width, rate)
    return _rendered(rng, singer, pitch, voiced, noise, mouth, hiss, rate)


def _rendered(
    rng: np.random.Generator,
    singer: Singer,
    pitch: Float,
    voiced: Float,
    noise: Float,
    mouth: Float,
    hiss: Float,
    rate: int,
) -> Float:
    """Sound from control values, one per HOP samples. `mouth` and `hiss` are gains per bin."""
    samples = len(pitch) * HOP
    position, known = np.arange(samples), np.arange(len(pitch)) * HOP
    unsteady = 1 + 0.006 * _smooth(rng.standard_normal(len(pitch)), 3)
    source = saw(np.interp(position, known, pitch * unsteady), rate)
    source += singer.breath * rng.standard_normal(samples)
    source *= np.interp(position, known, voiced * (1 + 0.1 * _smooth(rng.standard_normal(len(pitch)), 3)))
    rustle = rng.standard_normal(samples) * np.interp(position, known, noise)
    return filtered_in_time(source, mouth) + filtered_in_time(rustle, hiss)


def _vowel(rng: np.random.Generator, singer: Singer) -> Float:
    """Five formants in Hz."""
    first = VOWELS[rng.integers(len(VOWELS))]
    return np.array([*first, 3300.0, 4200.0]) * singer.scale * rng.uniform(0.95, 1.05)


def _envelope(formants: Float, rate: int, tilt: float) -> Float:
    """Gains [frames, bins] of resonances at `formants` [frames, 5], each weaker than the one before."""
    bins = np.fft.rfftfreq(FRAME, 1 / rate)
    gains = np.full((len(formants), len(bins)), 0.01)
    for i, width in enumerate(WIDTHS):
        peak = formants[:, i, None]
        gains += 0.75**i / np.sqrt(1 + ((bins - peak) / width) ** 2)
    falling = np.maximum(bins / 300, 1) ** (-tilt / 6)
    out: Float = gains * falling
    return out


def _band(centre: Float, width: Float, rate: int) -> Float:
    """Gains [frames, bins] of noise around `centre` Hz, `width` octaves wide."""
    bins = np.maximum(np.fft.rfftfreq(FRAME, 1 / rate), 1)
    out: Float = np.exp(-0.5 * (np.log2(bins / centre[:, None]) / (width[:, None] / 2)) ** 2)
    return out


def _smooth(track: Float, frames: int) -> Float:
    """A running mean over `frames` values."""
    padded = np.pad(track, (frames // 2, frames - 1 - frames // 2), mode="edge")
    return np.convolve(padded, np.ones(frames) / frames, mode="valid")
