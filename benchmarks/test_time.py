"""What the options peers have at separation time gain: channels swapped, polarity inverted, chunks elsewhere.

    python benchmarks/test_time.py ENGINE DIR... [--limit-seconds 60]

Each DIR is one song with its stems. Every variant is the mean of what comes out for the song and for the song changed
and changed back. "shifts 2" and "shifts 4" are means over as many songs that begin up to half a second later, as peers
draw them; beside them a larger overlap, which is a mean over chunks elsewhere, too. Printed: uSDR and cSDR of the
vocals, what they gain on the first row, mean over the songs, and the time as a multiple of the first row's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from runtime.evaluation.metrics import csdr, usdr
from runtime.evaluation.tracks import Track, Truth, find_tracks, read_track
from runtime.separator import Separator, open_separator

Wave = np.ndarray
Change = Callable[[Wave], Wave]


def same(wave: Wave) -> Wave:
    return wave


def swapped(wave: Wave) -> Wave:
    return wave[::-1]


def inverted(wave: Wave) -> Wave:
    return -wave


CHANGES: dict[str, list[Change]] = {
    "as it is": [same],
    "channels swapped": [same, swapped],
    "polarity inverted": [same, inverted],
    "both": [same, swapped, inverted, lambda wave: -wave[::-1]],
}


def changed(separator: Separator, truth: Truth, changes: list[Change]) -> Wave:
    def vocals(change: Change) -> Wave:
        song = np.ascontiguousarray(change(truth.mixture))
        return change(separator.separate(song, truth.sample_rate, ["vocals"])["vocals"])

    return np.mean([vocals(change) for change in changes], axis=0)


def shifted(separator: Separator, truth: Truth, count: int) -> Wave:
    rng = np.random.default_rng(0)
    total = np.zeros_like(truth.mixture)
    for _ in range(count):
        late = int(rng.integers(truth.sample_rate // 2))
        song = np.pad(truth.mixture, ((0, 0), (late, 0)))
        total += separator.separate(song, truth.sample_rate, ["vocals"])["vocals"][:, late:]
    return total / count


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
    parser.add_argument("--limit-seconds", type=float, default=60.0)
    args = parser.parse_args()
    truths = [
        middle(track, args.limit_seconds)
        for song in args.songs
        for track in find_tracks(song.parent)
        if track.name == song.name
    ]

    print("| variant | uSDR, dB | gain | cSDR, dB | gain | time |\n| --- | --- | --- | --- | --- | --- |")
    first = None
    for overlap in (0.25, 0.5, 0.75):
        with open_separator(args.engine, overlap=overlap) as separator:
            ways: dict[str, Callable[[Truth], Wave]] = {}
            if overlap == 0.25:
                for name, changes in CHANGES.items():
                    ways[name] = lambda truth, changes=changes: changed(separator, truth, changes)
                for count in (2, 4):
                    ways[f"shifts {count}"] = lambda truth, count=count: shifted(separator, truth, count)
            else:
                ways[f"overlap {overlap}"] = lambda truth: changed(separator, truth, [same])
            for name, way in ways.items():
                started = time.perf_counter()
                found = [way(truth) for truth in truths]
                took = time.perf_counter() - started
                true = [truth.stems["vocals"] for truth in truths]
                figures = [np.mean([usdr(t, e) for t, e in zip(true, found, strict=True)])]
                rates = [truth.sample_rate for truth in truths]
                figures.append(np.mean([csdr(t, e, r) for t, e, r in zip(true, found, rates, strict=True)]))
                first = first or (*figures, took)
                gains = [figure - base for figure, base in zip(figures, first, strict=False)]
                cells = [f"{figure:.2f} | {gain:+.2f}" for figure, gain in zip(figures, gains, strict=True)]
                print(f"| {name} | {' | '.join(cells)} | {took / first[2]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
