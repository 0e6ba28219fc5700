"""What overlap, window and discarded ends of chunks do to the seams between them, and what they cost.

    python benchmarks/seams.py ENGINE SONG... [--seconds 60]

Each SONG is a mixture; so many seconds from its middle are used. The reference is the same engine with chunks of which
each shares 7/8 with the next: every sample is the weighted mean of four that lie a quarter of a chunk or more from
its edges. Printed, over all songs, stems and seams:

- SNR: of all samples but the last chunk against the reference;
- at seams: of those within 0.25 s of the middle of an overlap;
- step: the largest change of the error from one sample to the next at a seam, RMS over the seams, in dB of the stems'
  RMS; what it is where there is no seam stands in the last line. A step that exceeds that is a click;
- chunks: given to the engine for a long song, as a multiple of those without overlap.

A second table says how far from a chunk's edge the engine still lacks context.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime.audio import read_song, resample
from runtime.dsp.chunks import WINDOWS, Chunk, ChunkPlan, OverlapAdd
from runtime.separation.engine_run import EngineRun
from runtime.separation.separator import open_separator
from runtime.separation.stream import paired
from runtime.separation.timing import StageTimes

OVERLAPS = (0.0, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
DISCARDS = (0.0, 1 / 2, 1.0)
REFERENCE = {"overlap": 7 / 8, "discard": 4 / 7}
NEAR = 0.25  # s
CLICK = 32  # samples on both sides of a seam
DISTANCES = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)  # s

Results = list[tuple[Chunk, np.ndarray]]  # chunks with their stems, [m, s, c, chunk]


class Errors:
    """Sums over songs, for one way of putting chunks together."""

    def __init__(self) -> None:
        self.sums = np.zeros(4)  # signal and error: of all samples, of those at seams
        self.steps: list[float] = []
        self.quiet: list[float] = []

    def add(self, found: np.ndarray, reference: np.ndarray, plan: ChunkPlan, rate: int) -> None:
        """[..., samples] both"""
        error = found.astype(np.float64) - reference
        level = np.sqrt(np.mean(np.square(reference, dtype=np.float64)))
        change = np.abs(np.diff(error)).max(axis=tuple(range(error.ndim - 1))) / level
        shared = plan.chunk - plan.step
        last = found.shape[-1] - plan.chunk
        starts = range(plan.step, last - shared, plan.step)
        near = np.zeros(found.shape[-1], bool)
        for start in starts:
            middle = start + shared // 2
            near[max(0, middle - int(NEAR * rate)) : middle + int(NEAR * rate)] = True
            edges = (start + plan.edge, start + shared - plan.edge)  # where one chunk comes in and the other goes
            self.steps.append(max(change[max(0, edge - CLICK) : edge + CLICK].max() for edge in edges))
            self.quiet.append(change[middle + plan.step // 3 :][: 4 * CLICK].max(initial=0.0))
        # Not the last chunk: how much of it is silence after the end differs from way to way.
        parts = (reference[..., :last], error[..., :last], reference[..., near], error[..., near])
        self.sums += [np.sum(np.square(part, dtype=np.float64)) for part in parts]

    def row(self) -> list[str]:
        signal, error, signal_near, error_near = self.sums
        return [decibels(signal, error), decibels(signal_near, error_near), mean_level(self.steps)]


def decibels(signal: float, error: float) -> str:
    return f"{10 * np.log10(signal / error):.1f}" if error else "exact"


def mean_level(values: list[float]) -> str:
    return f"{20 * np.log10(np.sqrt(np.mean(np.square(values)))):.1f}"


def separated(engine: EngineRun, wave: np.ndarray, plan: ChunkPlan) -> Results:
    def chunks() -> Iterator[Chunk]:
        cutter = plan.cutter()
        yield from cutter.put(paired(wave, engine.manifest.model.channels))
        yield from cutter.finish()

    stems = list(range(len(engine.manifest.model.stems)))
    return list(engine.run(chunks(), stems, lambda done: None))


def together(results: Results, plan: ChunkPlan) -> np.ndarray:
    """The results of chunks that were cut by a plan with the steps of `plan`, by its weights."""
    total = OverlapAdd()
    weighted = ((replace(each, weights=plan.weights(each.start == 0, each.last)), waves) for each, waves in results)
    return np.concatenate([total.add(chunk, waves) for chunk, waves in weighted], axis=-1)


def by_distance(results: Results, reference: np.ndarray, rate: int, sums: np.ndarray) -> None:
    """Adds signal and error to `sums` [distances, 2], by the distance from the nearer edge of a chunk."""
    for chunk, waves in results:
        if chunk.start == 0 or chunk.last:  # the song's own ends are no seams
            continue
        true = reference[..., chunk.start : chunk.start + waves.shape[-1]].astype(np.float64)
        n = np.arange(waves.shape[-1])
        distance = np.minimum(n, n[::-1]) / rate
        for i, low in enumerate(DISTANCES):
            high = DISTANCES[i + 1] if i + 1 < len(DISTANCES) else np.inf
            here = (distance >= low) & (distance < high)
            sums[i] += np.sum(true[..., here] ** 2), np.sum((waves[..., here] - true[..., here]) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("songs", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    errors: dict[tuple[float, str, float], Errors] = {}
    seconds = dict.fromkeys(OVERLAPS, 0.0)
    distances = np.zeros((len(DISTANCES), 2))
    length = 0.0
    with open_separator(args.engine) as separator:
        manifest, times = separator.manifest, StageTimes()
        engine = EngineRun(separator.backend, manifest, manifest.batch.opt, times)
        rate, chunk = manifest.stft.sample_rate, manifest.chunk_samples
        for path in args.songs:
            song = read_song(path)
            wave = resample(song.audio, song.sample_rate, rate)
            first = max(0, (wave.shape[1] - int(args.seconds * rate)) // 2)
            wave = wave[:, first : first + int(args.seconds * rate)]
            length += wave.shape[1] / rate
            dense = ChunkPlan.of(chunk, **REFERENCE)
            reference = together(separated(engine, wave, dense), dense)
            for overlap in OVERLAPS:
                plan = ChunkPlan.of(chunk, overlap)
                before = times.seconds["engine"]
                results = separated(engine, wave, plan)
                seconds[overlap] += times.seconds["engine"] - before
                for discard in DISCARDS if overlap else (0.0,):
                    for window in WINDOWS if overlap and discard < 1 else ("flat",):
                        way = ChunkPlan.of(chunk, overlap, discard, window)
                        sums = errors.setdefault((overlap, window, discard), Errors())
                        sums.add(together(results, way), reference, replace(way, window="flat"), rate)
                if overlap == 1 / 2:
                    by_distance(results, reference, rate, distances)
    print(f"{args.engine.name}, {separator.backend.name}, {len(args.songs)} songs, {length:.0f} s\n")
    print("| overlap | discarded part of it | window | SNR, dB | at seams, dB | step, dB | chunks | engine, s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (overlap, window, discard), found in errors.items():
        name = "none" if not overlap or discard == 1 else window
        cost = [f"{1 / (1 - overlap):.2f}", f"{seconds[overlap]:.1f}"]
        print("| " + " | ".join([f"{overlap:.3g}", f"{discard:.3g}", name, *found.row(), *cost]) + " |")
    print(f"\nNo seam: a step of {mean_level([step for found in errors.values() for step in found.quiet])} dB.\n")
    print("| distance from the edge of a chunk, s | SNR, dB |\n| --- | --- |")
    for i, low in enumerate(DISTANCES):
        high = f" to {DISTANCES[i + 1]:g}" if i + 1 < len(DISTANCES) else " and more"
        print(f"| {low:g}{high} | {decibels(*distances[i])} |")


if __name__ == "__main__":
    main()
