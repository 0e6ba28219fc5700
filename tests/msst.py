"""MSST's way of separating a song, for comparison: plain, with the whole song in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def demix(
    song: np.ndarray, model: Callable[[np.ndarray], np.ndarray], chunk: int, num_overlap: int, batch: int
) -> np.ndarray:
    """`song` [c, samples] through `model`, [c, chunk] -> [..., chunk]; gives [..., samples]."""
    step, fade, samples = chunk // num_overlap, chunk // 10, song.shape[-1]
    border = chunk - step if samples > 2 * (chunk - step) else 0
    padded = np.pad(song, ((0, 0), (border, border)), "reflect")
    total = np.zeros((*model(np.zeros((len(song), chunk))).shape[:-1], padded.shape[-1]))
    weight = np.zeros(padded.shape[-1])
    starts = range(0, padded.shape[-1], step)
    for first in range(0, len(starts), batch):
        together = starts[first : first + batch]
        window = np.ones(chunk)
        if list(together) != [0]:
            window[:fade] = np.linspace(0, 1, fade)
        if list(together) == [0] or together[-1] != starts[-1]:
            window[chunk - fade :] = np.linspace(1, 0, fade)
        for start in together:
            part = padded[:, start : start + chunk]
            length = part.shape[-1]
            mode = "reflect" if length > chunk // 2 else "constant"
            result = model(np.pad(part, ((0, 0), (0, chunk - length)), mode))
            total[..., start : start + length] += (window * result)[..., :length]
            weight[start : start + length] += window[:length]
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    return mean[..., border : border + samples]
