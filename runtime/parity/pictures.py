"""The plots of a parity report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.engine.manifest import Manifest
from runtime.parity.stages import Stage
from runtime.pictures.page import new_figure

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Float = NDArray[np.float32]

FLOOR = -140.0  # dB of the mixture's peak: the darkest colour, slightly below the error of float32
GOOD, BAD, LIMIT = "#2da44e", "#cf222e", "#1b1f24"


def error_bars(stages: list[Stage]) -> Figure:
    """Each stage's largest error beside its limit, on a logarithmic scale. Raises OptionError without matplotlib."""
    figure = new_figure(9, 0.8 + 0.32 * len(stages))
    axes = figure.subplots()
    least = 1e-8
    for row, stage in enumerate(stages):
        error = 1.0 if stage.difference is None else max(stage.difference.max_error, 2 * least)
        axes.barh(row, error - least, left=least, height=0.6, color=GOOD if stage.passed else BAD)
        axes.plot([stage.tolerance[0]] * 2, [row - 0.45, row + 0.45], color=LIMIT, linewidth=2)
    axes.set_xscale("log")
    axes.set_xlim(left=least)
    axes.set_yticks(range(len(stages)), [stage.name for stage in stages])
    axes.invert_yaxis()
    axes.set_xlabel("largest error, relative to the peak (black: limit)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def spectrograms(mixture: Float, reference: Float, found: Float, manifest: Manifest, worst: Stage, stem: int) -> Figure:
    """One stem: mixture, reference, engine and their difference, [t, f, c, 2] each, in dB of the mixture's peak.

    They show the channel of the `worst` error, which is marked if it is in this `stem`. Raises OptionError without
    matplotlib.
    """
    _, of_stem, frame, bin_, channel, _ = worst.index
    stft = manifest.stft
    frames, bins = mixture.shape[:2]
    second, kilohertz = stft.hop_length / stft.sample_rate, stft.sample_rate / stft.n_fft / 1000  # per frame, per bin
    parts = {"mixture": mixture, "PyTorch": reference, "engine": found, "difference": found - reference}
    peak = float(np.abs(_level(mixture, channel)).max())
    figure = new_figure(12, 3.2)
    shown = figure.subplots(1, len(parts), sharex=True, sharey=True)
    for axes, (name, part) in zip(shown, parts.items(), strict=True):
        level = _level(part, channel)
        with np.errstate(divide="ignore", invalid="ignore"):
            decibels = np.maximum(20 * np.log10(level / peak), FLOOR)
        decibels[~np.isfinite(level)] = np.nan  # drawn red
        image = axes.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            extent=(-second / 2, (frames - 0.5) * second, -kilohertz / 2, (bins - 0.5) * kilohertz),
            vmin=FLOOR,
            vmax=0,
            cmap=_colours(),
            interpolation="nearest",
        )
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("time, s")
    if of_stem == stem:
        circle = {"marker": "o", "markersize": 12, "markerfacecolor": "none", "markeredgecolor": "white"}
        shown[-1].plot(frame * second, bin_ * kilohertz, **circle)
    shown[0].set_ylabel("frequency, kHz")
    figure.colorbar(image, ax=shown, label="dB of the mixture's peak")
    return figure


def _level(part: Float, channel: int) -> Float:
    """Magnitudes [t, f] of one channel of [t, f, c, 2]."""
    out: Float = np.hypot(part[..., channel, 0], part[..., channel, 1])
    return out


def _colours() -> Colormap:
    from matplotlib import colormaps

    return colormaps["magma"].with_extremes(bad=BAD)
