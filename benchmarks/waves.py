"""The STFT and its inverse inside an engine, beside those of NumPy and PyTorch: errors, and times on this CPU.

    python benchmarks/waves.py [--rounds N]

Errors are those of the spectrogram of the parity check's signal, in dB below it, against float64. Times are those of
one stereo chunk of 8 s and of its stems, in turns, median and range. A few seconds; wants a quiet machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
import torch
from onnx import TensorProto, helper

from bsmamba2.config import StftConfig
from bsmamba2.networks.stft import spectrogram
from export.graph.assembly import Assembly
from export.graph.waves import add_inverse, add_stft
from runtime.backends.onnxruntime import session_options
from runtime.dsp.difference import difference
from runtime.dsp.signal import signal_wave
from runtime.dsp.stft import Stft

CHANNELS, SECONDS = 2, 8
CASES = [(2048, 441, 1), (2048, 441, 4), (2048, 512, 1), (2048, 882, 1), (4096, 882, 1), (4096, 1024, 1)]


class Graphs(NamedTuple):
    """Both transforms as sessions, with what they add to an engine."""

    forward: ort.InferenceSession
    inverse: ort.InferenceSession
    nodes: int
    bytes: int


def graphs(stft: StftConfig, frames: int, stems: int) -> Graphs:
    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

    there, back = Assembly(), Assembly()
    made = add_stft(there, stft, "wave", CHANNELS)
    add_inverse(back, stft, "spectra", stems, CHANNELS, "waves", frames)
    samples, spectrum = stft.hop_length * (frames - 1), (frames, stft.bins, CHANNELS, 2)
    models = [
        there.model([value("wave", CHANNELS, samples)], [value(made, *spectrum)]),
        back.model([value("spectra", stems, *spectrum)], [value("waves", stems, CHANNELS, samples)]),
    ]
    contents = [model.SerializeToString() for model in models]
    sessions = [ort.InferenceSession(each, session_options(None), ["CPUExecutionProvider"]) for each in contents]
    return Graphs(*sessions, sum(len(model.graph.node) for model in models), sum(map(len, contents)))


def timed(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, str]:
    """Milliseconds of each, in turns, after two rounds that warm up."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(2 + rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            taken[name].append(1000 * (time.perf_counter() - start))
    return {
        name: f"{statistics.median(each[2:]):.0f} ({min(each[2:]):.0f} to {max(each[2:]):.0f})"
        for name, each in taken.items()
    }


def row(n_fft: int, hop: int, stems: int, rounds: int) -> list[object]:
    stft = StftConfig(n_fft=n_fft, win_length=n_fft, hop_length=hop)
    frames = 1 + round(SECONDS * stft.sample_rate / hop)
    numpy, inside = Stft(n_fft, hop), graphs(stft, frames, stems)
    wave = signal_wave(stft, CHANNELS, frames)
    exact = spectrogram(torch.from_numpy(wave).double(), stft).numpy()
    (found,) = inside.forward.run(None, {"wave": wave})
    spectra = np.repeat(found[:, None], stems, axis=1)
    errors = [difference(each, exact).snr_db for each in (found, spectrogram(torch.from_numpy(wave), stft).numpy())]
    errors.append(difference(numpy.forward(wave), exact).snr_db)
    times = timed(
        {
            "STFT": lambda: inside.forward.run(None, {"wave": wave}),
            "in NumPy": lambda: numpy.forward(wave),
            "inverse": lambda: inside.inverse.run(None, {"spectra": spectra}),
            "inverse in NumPy": lambda: numpy.inverse(spectra),
        },
        rounds,
    )
    decibels = [f"{each:.0f}" for each in errors if each is not None]
    return [n_fft, hop, stems, inside.nodes, f"{inside.bytes / 1e6:.2f}", *decibels, *times.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    columns = ["n_fft", "hop", "stems", "nodes", "MB", "graph, dB", "PyTorch, dB", "NumPy, dB", "STFT, ms"]
    columns += ["in NumPy", "inverse, ms", "in NumPy"]
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|", flush=True)
    for n_fft, hop, stems in CASES:
        print(f"| {' | '.join(map(str, row(n_fft, hop, stems, args.rounds)))} |", flush=True)


if __name__ == "__main__":
    main()
