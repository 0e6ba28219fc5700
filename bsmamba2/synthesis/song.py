"""A whole synthetic song: random key, tempo, instruments and vocals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsmamba2.synthesis.instruments import Score, bass, chords, drums, lead, riser
from bsmamba2.synthesis.sound import Float, add, in_a_room, placed, rms
from bsmamba2.synthesis.voice import Singer, Syllable, any_singer, phrase

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
PROGRESSIONS = ((0, 5, 3, 4), (0, 4, 5, 3), (5, 3, 0, 4), (0, 3, 4, 3), (1, 4, 0, 0), (0, 0, 3, 4), (0, 6, 5, 4))
PEAK = 0.9


@dataclass(frozen=True)
class Song:
    """`stems` by name ("vocals", "drums", "bass", "other"), each [2, samples], full scale 1.0."""

    stems: dict[str, NDArray[np.float32]]
    sample_rate: int  # Hz

    @property
    def vocals(self) -> NDArray[np.float32]:
        return self.stems["vocals"]

    @property
    def accompaniment(self) -> NDArray[np.float32]:
        return sum((stem for name, stem in self.stems.items() if name != "vocals"), np.zeros_like(self.vocals))

    @property
    def mixture(self) -> NDArray[np.float32]:
        return self.vocals + self.accompaniment


def make_song(seconds: float = 20.0, sample_rate: int = 44100, seed: int = 1) -> Song:
    """The song of `seed`, which determines key, tempo, chords, instruments, singer and melody."""
    rng = np.random.default_rng(seed)
    scale = MAJOR if rng.random() < 0.5 else MINOR
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    score = Score(
        samples=round(seconds * sample_rate),
        rate=sample_rate,
        beat=60 / rng.uniform(70, 150),
        tonic=110 * 2 ** rng.uniform(0, 1),
        scale=scale,
        chords=tuple(tuple(scale[(root + i) % 7] + 12 * ((root + i) // 7) for i in (0, 2, 4)) for root in progression),
    )
    room = rng.uniform(0.3, 1.5)
    parts: dict[str, Float] = {"vocals": _vocals(rng, score)}
    parts["drums"] = _level(rng, drums(rng, score)) if rng.random() < 0.85 else np.zeros((2, score.samples))
    parts["bass"] = _level(rng, bass(rng, score)) if rng.random() < 0.85 else np.zeros((2, score.samples))
    other = _level(rng, chords(rng, score)) if rng.random() < 0.9 else np.zeros((2, score.samples))
    if rng.random() < 0.5:
        other = other + _level(rng, lead(rng, score))
    if rng.random() < 0.25:
        other = other + 0.5 * _level(rng, riser(rng, score))
    parts["other"] = in_a_room(rng, other, sample_rate, room, rng.uniform(0, 0.5))
    parts["drums"] = in_a_room(rng, parts["drums"], sample_rate, room / 2, rng.uniform(0, 0.2))

    band = rms(parts["drums"] + parts["bass"] + parts["other"])
    if band and rms(parts["vocals"]):
        parts["vocals"] *= band / rms(parts["vocals"]) * 10 ** (rng.uniform(-8, 4) / 20)
    peak = max(np.abs(sum(parts.values())).max(), 1e-9) / PEAK
    return Song({name: (part / peak).astype(np.float32) for name, part in parts.items()}, sample_rate)


def _level(rng: np.random.Generator, part: Float) -> Float:
    return part / (rms(part) + 1e-9) * 10 ** (rng.uniform(-6, 6) / 20)


def _vocals(rng: np.random.Generator, score: Score) -> Float:
    """Sung or spoken phrases with pauses between them, some with a second voice, near the centre."""
    dry = np.zeros((2, score.samples))
    singer, second = any_singer(rng), any_singer(rng)
    speaks = rng.choice([0.0, 0.5, 1.0])
    pauses = rng.choice([0.3, 1.5, 4.0])  # seconds, on average
    now = rng.exponential(pauses)
    while now < score.samples / score.rate:
        seconds = float(rng.choice([0.8, 2, 4, 7]) * rng.uniform(0.7, 1.3))
        spoken = rng.random() < speaks
        syllables = (_speech if spoken else _melody)(rng, singer, score, seconds)
        wave = phrase(rng, singer, syllables, score.rate, spoken)
        start = round(now * score.rate)
        add(dry, placed(wave, rng.uniform(-0.1, 0.1)), start)
        if not spoken and rng.random() < 0.25:  # about a third higher
            higher = [Syllable(s.start, s.seconds, (s.pitch[0] * 1.2, s.pitch[1] * 1.2)) for s in syllables]
            add(dry, placed(0.6 * phrase(rng, second, higher, score.rate, spoken), rng.uniform(-0.6, 0.6)), start)
        now += len(wave) / score.rate + rng.exponential(pauses)
    if rng.random() < 0.3:  # an echo on the beat
        delay = score.at(float(rng.choice([0.5, 0.75, 1.0])))
        add(dry, 0.3 * dry[::-1, : max(0, score.samples - delay)].copy(), delay)
    return in_a_room(rng, dry, score.rate, rng.uniform(0.3, 2.0), rng.uniform(0, 0.4))


def _melody(rng: np.random.Generator, singer: Singer, score: Score, seconds: float) -> list[Syllable]:
    """Notes of the scale, mostly in small steps, some with a glide."""
    out: list[Syllable] = []
    lowest = int(np.ceil(12 * np.log2(singer.lowest / score.tonic)))
    notes = [n for n in range(lowest, lowest + 20) if n % 12 in score.scale]
    at, now = int(rng.integers(len(notes))), 0.0
    before = score.pitch(notes[at])
    while now < seconds:
        length = score.beat * float(rng.choice([0.25, 0.5, 0.5, 1, 1, 2]))
        at = int(np.clip(at + rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3]), 0, len(notes) - 1))
        pitch = score.pitch(notes[at])
        out.append(Syllable(now, length, (before if rng.random() < 0.3 else pitch, pitch)))
        now, before = now + length, pitch
    return out


def _speech(rng: np.random.Generator, singer: Singer, score: Score, seconds: float) -> list[Syllable]:
    """Four to seven syllables per second, on sixteenths of the beat or free, with falling pitch."""
    out: list[Syllable] = []
    base = singer.lowest * rng.uniform(1.0, 1.5)
    step = score.beat / 4 if rng.random() < 0.6 and 0.13 < score.beat / 4 < 0.26 else 1 / rng.uniform(4, 7)
    now = 0.0
    while now < seconds:
        length = step * float(rng.choice([1, 1, 1, 2]))
        pitch = base * (1.25 - 0.35 * now / seconds) * 2 ** rng.uniform(-0.2, 0.25)
        out.append(Syllable(now, length, (pitch, pitch * 2 ** rng.uniform(-0.25, 0.1))))
        now += length
    return out
