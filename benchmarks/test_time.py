"""What the options peers have at separation time gain: channels swapped, polarity inverted, the song a little later.

    python benchmarks/test_time.py ENGINE DIR... [--seconds 60]

Each DIR is one song with its stems; so many seconds from its middle are used. A row is the mean of what comes out for
the song in each of several ways, changed back: as it is, with channels swapped, inverted, later by some samples. A
larger overlap, which is a mean over chunks elsewhere, stands beside them. Printed: how often the engine runs, uSDR and
cSDR of the vocals, mean over the songs, and what they gain on the first row.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.dsp.chunks import ChunkPlan
from runtime.evaluation.metrics import csdr, usdr
from runtime.evaluation.tracks import Track, Truth, find_tracks, read_track
from runtime.separation.separator import Separator, open_separator


@dataclass(frozen=True)
class Way:
    swapped: bool = False
    inverted: bool = False
    late: int = 0  # samples

    def vocals(self, separator: Separator, truth: Truth) -> np.ndarray:
        song = np.pad(self._changed(truth.mixture), ((0, 0), (self.late, 0)))
        return self._changed(separator.separate(song, truth.sample_rate, ["vocals"])["vocals"][:, self.late :])

    def _changed(self, wave: np.ndarray) -> np.ndarray:
        return (-1 if self.inverted else 1) * (wave[::-1] if self.swapped else wave)


def ways(hop: int, rate: int) -> dict[str, list[Way]]:
    late = [int(each) for each in np.random.default_rng(0).integers(rate // 2, size=4)]
    phases = [round(hop * i / 4) for i in range(4)]
    return {
        "as it is": [Way()],
        "and channels swapped": [Way(), Way(swapped=True)],
        "and inverted": [Way(), Way(inverted=True)],
        "and both at once": [Way(), Way(swapped=True, inverted=True)],
        "and each and both": [Way(), Way(True, False), Way(False, True), Way(True, True)],
        "2 shifts within 0.5 s": [Way(late=each) for each in late[:2]],
        "4 shifts within 0.5 s": [Way(late=each) for each in late],
        "2 shifts within a hop": [Way(late=each) for each in phases[::2]],
        "4 shifts within a hop": [Way(late=each) for each in phases],
        "25 hops later": [Way(), Way(late=25 * hop)],
        "and swapped, inverted, half a hop later at once": [Way(), Way(True, True, phases[2])],
        "the same, 4 phases": [Way(i % 2 == 1, i % 2 == 1, each) for i, each in enumerate(phases)],
    }


def middle(track: Track, seconds: float) -> Truth:
    truth = read_track(track, ["vocals"])
    length = min(truth.mixture.shape[1], round(seconds * truth.sample_rate))
    start = (truth.mixture.shape[1] - length) // 2
    part = slice(start, start + length)
    stems = {name: stem[:, part] for name, stem in truth.stems.items()}
    return Truth(truth.mixture[:, part], stems, truth.sample_rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("songs", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    found = [track for song in args.songs for track in find_tracks(song.parent) if track.name == song.name]
    truths = [middle(track, args.seconds) for track in found]
    first: list[float] = []

    def row(name: str, passes: str, estimates: list[np.ndarray]) -> None:
        pairs = [(truth.stems["vocals"], each) for truth, each in zip(truths, estimates, strict=True)]
        figures = [float(np.mean([usdr(*pair) for pair in pairs]))]
        rates = [truth.sample_rate for truth in truths]
        figures.append(float(np.mean([csdr(*pair, rate) for pair, rate in zip(pairs, rates, strict=True)])))
        first.extend(figures if not first else [])
        cells = [f"{figure:.2f} | {figure - base:+.2f}" for figure, base in zip(figures, first, strict=False)]
        print(f"| {name} | {passes} | {' | '.join(cells)} |", flush=True)

    print("| mean over the song | runs | uSDR, dB | gain | cSDR, dB | gain |\n| --- | --- | --- | --- | --- | --- |")
    with open_separator(args.engine) as separator:
        stft = separator.manifest.stft
        known: dict[tuple[Way, int], np.ndarray] = {}

        def vocals(way: Way, i: int) -> np.ndarray:
            if (way, i) not in known:
                known[way, i] = way.vocals(separator, truths[i])
            return known[way, i]

        for name, several in ways(stft.hop_length, stft.sample_rate).items():
            means = [np.mean([vocals(way, i) for way in several], axis=0) for i in range(len(truths))]
            row(name, str(len(several)), means)
        for overlap in (0.5, 0.75):
            separator.plan = ChunkPlan.of(separator.manifest.chunk_samples, overlap)
            row(f"overlap {overlap}", f"{0.75 / (1 - overlap):.1f}", [Way().vocals(separator, each) for each in truths])


if __name__ == "__main__":
    main()
