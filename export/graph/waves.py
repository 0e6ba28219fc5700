"""STFT and inverse STFT as graphs, for engines with waveforms in and out: the same function as runtime.dsp.stft.

Standard operators, in float32 whatever the precision of the network, exact for a hop that does not divide n_fft. A
frame is put together from blocks of one hop, and the inverse adds up blocks: nothing is gathered or scattered.

Axes besides those of the project: F, n and f of a stage of export.graph.fourier, and r the digits of a sample's number
that are still to come; m blocks of a frame and l blocks of a waveform.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bsmamba2.config import StftConfig
from export.graph.assembly import Assembly
from export.graph.fourier import Float, bins_of, forward_factors, inverse_factors, radices_of
from runtime.dsp.stft import Stft

PREFIX = "stft."
SPECTROGRAM = f"{PREFIX}spectrogram"  # the name that `add_stft` gives
END = np.iinfo(np.int64).max  # of a slice


class _Nodes:
    """Adds nodes whose names begin with `prefix`."""

    def __init__(self, graph: Assembly, prefix: str) -> None:
        self._graph = graph
        self._prefix = prefix

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        return self._graph.node(operator, inputs, self._prefix + name, **attributes)

    def constant(self, name: str, *values: int) -> str:
        return self._graph.constant(self._prefix + name, np.array(values, np.int64))

    def reshaped(self, x: str, name: str, *sizes: int) -> str:
        """0 keeps the size of an axis, -1 takes what is left."""
        return self.node("Reshape", [x, self.constant(f"{name}_shape", *sizes)], name)

    def turned(self, x: str, name: str, *axes: int) -> str:
        return self.node("Transpose", [x], name, perm=axes)

    def product(self, x: str, name: str, factors: Float) -> str:
        """`x` [b, F, r, c, t, i] times `factors` [F, i, o], for each F; without the axis F if it is 1."""
        shaped = factors[0] if len(factors) == 1 else factors[:, None, None]
        return self.node("MatMul", [x, self._graph.constant(f"{self._prefix}{name}_factors", shaped)], name)

    def scaled(self, x: str, name: str, window: Float) -> str:
        return self.node("Mul", [x, self._graph.constant(f"{self._prefix}{name}_by", window.astype(np.float32))], name)

    def padded(self, x: str, name: str, rank: int, axis: int, before: int, after: int, mode: str = "constant") -> str:
        sizes = [0] * (2 * rank)
        sizes[axis], sizes[rank + axis] = before, after
        return self.node("Pad", [x, self.constant(f"{name}_sizes", *sizes)], name, mode=mode)

    def cut(self, x: str, name: str, axis: int, start: int, end: int) -> str:
        parts = {"start": start, "end": end, "axis": axis}
        return self.node("Slice", [x, *(self.constant(f"{name}_{part}", at) for part, at in parts.items())], name)


def add_stft(graph: Assembly, stft: StftConfig, wave: str, channels: int) -> str:
    """`wave` [b, c, hop * (t - 1)] -> the name of its spectrogram [b, t, f, c, 2]."""
    nodes, c = _Nodes(graph, PREFIX), channels
    radices, known, rest = radices_of(stft.n_fft), 1, stft.n_fft // radices_of(stft.n_fft)[0]
    x = nodes.scaled(_frames(nodes, wave, stft), "windowed", _window(stft) * _scale(stft))
    x = nodes.reshaped(x, "digits", 0, c, -1, radices[0], rest)
    x = nodes.turned(x, "stage_0", 0, 4, 1, 2, 3)  # [b, r, c, t, n]
    for i, factors in enumerate(forward_factors(stft.n_fft)):
        x = nodes.product(x, f"product_{i}", factors)  # [b, F, r, c, t, (f, 2)]
        if rest > 1:
            radix, following = radices[i : i + 2]
            rest //= following
            x = nodes.reshaped(x, f"digits_{i}", 0, known, following, rest, c, -1, radix, 2)
            x = nodes.turned(x, f"turned_{i}", 0, 6, 1, 3, 4, 5, 2, 7)  # [b, f, F, r, c, t, n, 2]
            known *= radix
            x = nodes.reshaped(x, f"stage_{i + 1}", 0, known, rest, c, -1, 2 * following)
    bins = bins_of(radices[-1])
    x = nodes.reshaped(x, "last_digit", 0, known, c, -1, bins, 2)
    x = nodes.turned(x, "by_frame", 0, 3, 4, 1, 2, 5)  # [b, t, f, F, c, 2]
    x = nodes.reshaped(x, "all_bins", 0, -1, bins * known, c, 2)
    return nodes.cut(x, SPECTROGRAM.removeprefix(PREFIX), 2, 0, stft.bins)


def add_inverse(
    graph: Assembly, stft: StftConfig, spectra: str, stems: int, channels: int, output: str, frames: int | None
) -> None:
    """`spectra` [b, s, t, f, c, 2] -> waveforms, `output` [b, s, c, hop * (t - 1)].

    `frames` is t, or None if it is dynamic.
    """
    nodes, c = _Nodes(graph, "istft."), stems * channels
    radices = radices_of(stft.n_fft)
    known, rest, bins = stft.n_fft // radices[-1], 1, bins_of(radices[-1])
    x = nodes.padded(spectra, "all_bins", 6, 3, 0, bins * known - stft.bins)
    x = nodes.reshaped(x, "last_digit", 0, stems, -1, bins, known, channels, 2)
    x = nodes.turned(x, "by_bin", 0, 4, 1, 5, 2, 3, 6)  # [b, F, s, c, t, f, 2]
    x = nodes.reshaped(x, "stage_0", 0, known, rest, c, -1, 2 * bins)
    for i, factors in enumerate(inverse_factors(stft.n_fft)):
        x = nodes.product(x, f"product_{i}", factors)  # [b, F, r, s * c, t, (n, 2)]
        if known > 1:
            following, radix = radices[-i - 2 : len(radices) - i]
            known //= following
            x = nodes.reshaped(x, f"digits_{i}", 0, following, known, rest, c, -1, radix, 2)
            x = nodes.turned(x, f"turned_{i}", 0, 2, 6, 3, 4, 5, 1, 7)  # [b, F, n, r, s * c, t, f, 2]
            rest *= radix
            x = nodes.reshaped(x, f"stage_{i + 1}", 0, known, rest, c, -1, 2 * following)
    x = nodes.reshaped(x, "digits", 0, rest, c, -1, radices[0])
    x = nodes.turned(x, "by_frame", 0, 2, 3, 4, 1)  # [b, s * c, t, n, r]
    x = nodes.reshaped(x, "frames", 0, c, -1, stft.n_fft)
    pieces = nodes.scaled(x, "windowed", _window(stft) / _scale(stft))
    total = _overlap_add(nodes, pieces, "", stft)  # [b, s * c, hop * (t - 1)]

    if frames is not None:
        shape = nodes.constant("squares_shape", 1, 1, frames, 1)
    else:
        length, one = nodes.node("Shape", [pieces], "length", start=2, end=3), nodes.constant("one", 1)
        shape = nodes.node("Concat", [one, one, length, one], "squares_shape", axis=0)
    square = graph.constant("istft.window_square", np.square(_window(stft)).reshape(1, 1, 1, -1))
    squares = nodes.node("Expand", [square, shape], "squares")
    mean = nodes.node("Div", [total, _overlap_add(nodes, squares, "weight.", stft)], "mean")
    graph.node("Reshape", [mean, nodes.constant("waves", 0, stems, channels, -1)], output)


def _window(stft: StftConfig) -> Float:
    return Stft(stft.n_fft, stft.hop_length, stft.win_length).window


def _scale(stft: StftConfig) -> float:
    return float(stft.n_fft**-0.5) if stft.normalized else 1.0


def _frames(nodes: _Nodes, wave: str, stft: StftConfig) -> str:
    """`wave` [b, c, hop * (t - 1)], reflected at its ends -> its frames [b, c, t, n_fft]."""
    n_fft, hop, blocks = stft.n_fft, stft.hop_length, _blocks(stft)
    x = nodes.padded(wave, "reflected", 3, 2, n_fft // 2, n_fft // 2, mode="reflect")
    if blocks * hop > n_fft:  # the last block of the last frame is longer than the frame
        x = nodes.padded(x, "whole_blocks", 3, 2, 0, blocks * hop - n_fft)
    x = nodes.reshaped(x, "blocks", 0, 0, -1, hop)  # [b, c, l, hop] with l = t + m - 1
    shifted = [nodes.cut(x, f"blocks.{i}", 2, i, i + 1 - blocks or END) for i in range(blocks)]
    x = nodes.node("Concat", shifted, "frames", axis=3)
    return nodes.cut(x, "frames_cut", 3, 0, n_fft) if blocks * hop > n_fft else x


def _overlap_add(nodes: _Nodes, pieces: str, prefix: str, stft: StftConfig) -> str:
    """Frames [b, c, t, n_fft] -> their sum, each one hop after the one before, without the halves at both ends.

    Block i of a frame comes i blocks later than the frame: m more zeros at the end of every row of t, read as rows of
    one less, put each row one block further than the row before.
    """
    n_fft, hop, blocks = stft.n_fft, stft.hop_length, _blocks(stft)
    x = pieces
    if blocks * hop > n_fft:
        x = nodes.padded(x, f"{prefix}whole_blocks", 4, 3, 0, blocks * hop - n_fft)
    x = nodes.reshaped(x, f"{prefix}blocks", 0, 0, -1, blocks, hop)
    x = nodes.turned(x, f"{prefix}by_block", 0, 1, 3, 2, 4)  # [b, c, m, t, hop]
    x = nodes.padded(x, f"{prefix}longer", 5, 3, 0, blocks)
    x = nodes.reshaped(x, f"{prefix}flat", 0, 0, -1, hop)
    x = nodes.cut(x, f"{prefix}one_less", 2, 0, -blocks)
    x = nodes.reshaped(x, f"{prefix}shifted", 0, 0, blocks, -1, hop)  # [b, c, m, l, hop]
    x = nodes.node("ReduceSum", [x, nodes.constant("axis_2", 2)], f"{prefix}sum", keepdims=0)
    x = nodes.reshaped(x, f"{prefix}joined", 0, 0, -1)
    return nodes.cut(x, f"{prefix}inside", 2, n_fft // 2, n_fft // 2 - blocks * hop)


def _blocks(stft: StftConfig) -> int:
    """The blocks of one hop that a frame takes."""
    return -(-stft.n_fft // stft.hop_length)
