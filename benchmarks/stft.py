"""The STFT of the runtime and its inverse beside PyTorch's: milliseconds of a stereo chunk of 8 s.

    python benchmarks/stft.py [--rounds 25]

Windows and hops of the published networks, with one thread and with all. The last column is a copy of the
spectrogram: what could be saved by writing it where the engine takes it from.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from runtime.bench.machine import describe_machine
from runtime.dsp.stft import Stft
from runtime.engine.cpu import default_threads

SIZES = ((2048, 441), (4096, 1024))
SECONDS, RATE, CHANNELS = 8, 44100, 2
PAUSE = 0.1  # s before the rounds of a work: PyTorch's threads spin for a moment after theirs


def works(n_fft: int, hop: int, threads: int) -> dict[str, Callable[[], object]]:
    """What is timed, by its column."""
    stft, window = Stft(n_fft, hop, threads=threads), torch.hann_window(n_fft)
    wave = np.random.default_rng(0).standard_normal((CHANNELS, SECONDS * RATE)).astype(np.float32)
    spectrum = stft.forward(wave)
    copy = np.zeros_like(spectrum)
    theirs = torch.from_numpy(wave)
    complexes = torch.stft(theirs, n_fft, hop, window=window, return_complex=True)
    return {
        "forward": lambda: stft.forward(wave),
        "torch.stft": lambda: torch.stft(theirs, n_fft, hop, window=window, return_complex=True),
        "inverse": lambda: stft.inverse(spectrum),
        "torch.istft": lambda: torch.istft(complexes, n_fft, hop, window=window),
        "copy": lambda: np.copyto(copy, spectrum),
    }


def seconds(work: Callable[[], object], rounds: int) -> list[float]:
    work()
    time.sleep(PAUSE)
    times = [time.perf_counter()]
    for _ in range(rounds):
        work()
        times.append(time.perf_counter())
    return [after - before for before, after in pairwise(times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    machine = describe_machine()
    print(f"{machine.cpu}, {machine.usable_cores} CPUs, numpy {np.__version__}, torch {torch.__version__}", end="")
    print(f", load average before: {machine.load_average:.1f}; median of {rounds} rounds (fastest), ms\n")
    heading = True
    for n_fft, hop in SIZES:
        for threads in dict.fromkeys((1, default_threads() or 1)):
            torch.set_num_threads(threads)
            timed = works(n_fft, hop, threads)
            if heading:
                print("| n_fft / hop | threads |", " | ".join(timed), "|")
                print("| --- " * (len(timed) + 2) + "|")
                heading = False
            runs = [seconds(work, rounds) for work in timed.values()]
            cells = (f"{1e3 * statistics.median(each):.1f} ({1e3 * min(each):.1f})" for each in runs)
            print(f"| {n_fft} / {hop} | {threads} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
