"""STFT and inverse STFT as graphs, for engines with waveforms in and out: the same function as runtime.dsp.stft.

Standard operators, in float32 whatever the precision of the network, exact for a hop that does not divide n_fft. A
frame is put together from blocks of one hop, and the inverse adds up blocks: nothing is gathered or scattered.

Axes besides those of the project: n1, n2, f1, f2 of export.graph.fourier; m blocks of a frame; r blocks of a waveform.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bsmamba2.config import StftConfig
from export.graph.assembly import Assembly
from export.graph.fourier import forward_factors, inverse_factors, sizes_of
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

    def product(self, x: str, name: str, factors: Any) -> str:
        """`x` [m, b, c, t, i] times `factors` [m, i, o], for each m."""
        weight = self._graph.constant(f"{self._prefix}{name}_factors", factors[:, None, None])
        return self.node("MatMul", [x, weight], name)

    def padded(self, x: str, name: str, rank: int, axis: int, before: int, after: int, mode: str = "constant") -> str:
        sizes = [0] * (2 * rank)
        sizes[axis], sizes[rank + axis] = before, after
        return self.node("Pad", [x, self.constant(f"{name}_sizes", *sizes)], name, mode=mode)

    def cut(self, x: str, name: str, axis: int, start: int, end: int) -> str:
        parts = {"start": start, "end": end, "axis": axis}
        return self.node("Slice", [x, *(self.constant(f"{name}_{part}", at) for part, at in parts.items())], name)


def add_stft(graph: Assembly, stft: StftConfig, wave: str, channels: int) -> str:
    """`wave` [b, c, hop * (t - 1)] -> the name of its spectrogram [b, t, f, c, 2]."""
    nodes = _Nodes(graph, PREFIX)
    transform = Stft(stft.n_fft, stft.hop_length, stft.win_length, stft.normalized)
    rows, columns = sizes = sizes_of(stft.n_fft)
    inner, outer = forward_factors(transform.window * _scale(stft))

    frames = _frames(nodes, wave, stft)  # [b, c, t, n_fft]
    x = nodes.reshaped(frames, "table", 0, 0, -1, rows, columns)
    x = nodes.turned(x, "by_n2", 4, 0, 1, 2, 3)  # [n2, b, c, t, n1]
    x = nodes.product(x, "inner", inner)
    x = nodes.reshaped(x, "inner_parts", 0, 0, 0, 0, rows, 2)
    x = nodes.turned(x, "by_f1", 4, 1, 2, 3, 0, 5)  # [f1, b, c, t, n2, 2]
    x = nodes.reshaped(x, "outer_parts", 0, 0, 0, 0, 2 * columns)
    x = nodes.product(x, "outer", outer)
    x = nodes.reshaped(x, "bins_parts", 0, 0, 0, 0, sizes.most, 2)
    x = nodes.turned(x, "by_frame", 1, 3, 4, 0, 2, 5)  # [b, t, f2, f1, c, 2]
    x = nodes.reshaped(x, "all_bins", 0, 0, rows * sizes.most, channels, 2)
    return nodes.cut(x, SPECTROGRAM.removeprefix(PREFIX), 2, 0, stft.bins)


def add_inverse(
    graph: Assembly, stft: StftConfig, spectra: str, stems: int, channels: int, output: str, frames: int | None
) -> None:
    """`spectra` [b, s, t, f, c, 2] -> waveforms, `output` [b, s, c, hop * (t - 1)].

    `frames` is t, or None if it is dynamic.
    """
    nodes = _Nodes(graph, "istft.")
    transform = Stft(stft.n_fft, stft.hop_length, stft.win_length, stft.normalized)
    rows, columns = sizes = sizes_of(stft.n_fft)
    first, second = inverse_factors(transform.window / _scale(stft))

    x = nodes.padded(spectra, "all_bins", 6, 3, 0, rows * sizes.most - stft.bins)
    x = nodes.reshaped(x, "bins", 0, stems, -1, sizes.most, rows, channels, 2)
    x = nodes.turned(x, "by_f1", 4, 0, 1, 5, 2, 3, 6)  # [f1, b, s, c, t, f2, 2]
    x = nodes.reshaped(x, "bins_parts", 0, 0, stems * channels, -1, 2 * sizes.most)
    x = nodes.product(x, "first", first)
    x = nodes.reshaped(x, "first_parts", 0, 0, 0, 0, columns, 2)
    x = nodes.turned(x, "by_n2", 4, 1, 2, 3, 0, 5)  # [n2, b, s * c, t, f1, 2]
    x = nodes.reshaped(x, "second_parts", 0, 0, 0, 0, 2 * rows)
    x = nodes.product(x, "second", second)
    x = nodes.turned(x, "by_frame", 1, 2, 3, 4, 0)  # [b, s * c, t, n1, n2]
    pieces = nodes.reshaped(x, "pieces", 0, 0, 0, stft.n_fft)
    total = _overlap_add(nodes, pieces, "", stft)  # [b, s * c, hop * (t - 1)]

    if frames is not None:
        shape = nodes.constant("squares_shape", 1, 1, frames, 1)
    else:
        length, one = nodes.node("Shape", [pieces], "frames", start=2, end=3), nodes.constant("one", 1)
        shape = nodes.node("Concat", [one, one, length, one], "squares_shape", axis=0)
    square = graph.constant("istft.window_square", np.square(transform.window).reshape(1, 1, 1, -1))
    squares = nodes.node("Expand", [square, shape], "squares")
    mean = nodes.node("Div", [total, _overlap_add(nodes, squares, "weight.", stft)], "mean")
    graph.node("Reshape", [mean, nodes.constant("waves", 0, stems, channels, -1)], output)


def _scale(stft: StftConfig) -> float:
    return float(stft.n_fft**-0.5) if stft.normalized else 1.0


def _frames(nodes: _Nodes, wave: str, stft: StftConfig) -> str:
    """`wave` [b, c, hop * (t - 1)], reflected at its ends -> its frames [b, c, t, n_fft]."""
    n_fft, hop, blocks = stft.n_fft, stft.hop_length, _blocks(stft)
    x = nodes.padded(wave, "reflected", 3, 2, n_fft // 2, n_fft // 2, mode="reflect")
    if blocks * hop > n_fft:  # the last block of the last frame is longer than the frame
        x = nodes.padded(x, "whole_blocks", 3, 2, 0, blocks * hop - n_fft)
    x = nodes.reshaped(x, "blocks", 0, 0, -1, hop)  # [b, c, r, hop] with r = t + m - 1
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
    x = nodes.reshaped(x, f"{prefix}shifted", 0, 0, blocks, -1, hop)  # [b, c, m, r, hop]
    x = nodes.node("ReduceSum", [x, nodes.constant("axis_2", 2)], f"{prefix}sum", keepdims=0)
    x = nodes.reshaped(x, f"{prefix}joined", 0, 0, -1)
    return nodes.cut(x, f"{prefix}inside", 2, n_fft // 2, n_fft // 2 - blocks * hop)


def _blocks(stft: StftConfig) -> int:
    """The blocks of one hop that a frame takes."""
    return -(-stft.n_fft // stft.hop_length)
