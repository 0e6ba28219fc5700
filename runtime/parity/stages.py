"""One stage of a separation compared with PyTorch's: its error, the position of the largest, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.dsp.difference import TOLERANCES, Difference, difference
from runtime.engine.manifest import Manifest
from runtime.errors import EngineError

Float = NDArray[np.float32]

# Names of the axes of arrays, so that a position in an array can be described.
SPECTROGRAM = ("batch", "frame", "bin", "channel", "part")
STEMS = ("batch", "stem", "frame", "bin", "channel", "part")
FEATURES = ("batch", "frame", "band", "feature")
WAVEFORMS = ("batch", "stem", "channel", "sample")


@dataclass(frozen=True)
class Stage:
    """The comparison of one stage."""

    name: str
    precision: str  # its tolerance applies
    difference: Difference | None  # None if there are NaN or Inf
    worst: str  # the position of the largest error, or of the first NaN or Inf, in words
    index: tuple[int, ...]  # the same as an array index
    not_finite: int  # how many numbers are NaN or Inf

    @property
    def passed(self) -> bool:
        return self.difference is not None and self.difference.within(self.precision)

    @property
    def tolerance(self) -> tuple[float, float]:
        """The largest error allowed, relative to the peak, and the smallest SNR in dB."""
        return TOLERANCES[self.precision]


def compare(
    name: str,
    axes: tuple[str, ...],
    found: Float,
    reference: Float,
    precision: str,
    manifest: Manifest,
    where: NDArray[np.bool_] | None = None,
) -> Stage:
    """Compare `found` with `reference`, whose axes are named `axes`, at the positions in `where` (default: all).

    NaN and Inf fail the stage. Raises EngineError if they cannot be compared: different shapes, a silent reference.
    """
    if found.shape != reference.shape:
        raise EngineError(f"{name}: got shape {found.shape}, expected {reference.shape}: export the engine again")
    bad = ~np.isfinite(found) if where is None else ~np.isfinite(found) & where
    if bad.any():
        index = _index(bad.argmax(), found.shape)
        return Stage(name, precision, None, position(axes, index, manifest), index, int(bad.sum()))
    try:
        measured = difference(*((found, reference) if where is None else (found[where], reference[where])))
    except EngineError as error:
        raise EngineError(f"{name}: {error}") from error
    distance = np.abs(found - reference)
    index = _index((distance if where is None else np.where(where, distance, -1)).argmax(), found.shape)
    return Stage(name, precision, measured, position(axes, index, manifest), index, 0)


def _index(flat: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape))


def position(axes: tuple[str, ...], index: tuple[int, ...], manifest: Manifest) -> str:
    """A position in words: "batch 0, stem vocals, frame 12 (0.120 s), bin 40 (861 Hz), channel 0 (left), real"."""
    stft, model = manifest.stft, manifest.model
    hertz = stft.sample_rate / stft.n_fft

    def band(i: int) -> str:
        low = model.first_bins[i]
        return f"band {i} ({low * hertz:.0f} to {(low + model.bands[i] - 1) * hertz:.0f} Hz)"

    words: dict[str, Callable[[int], str]] = {
        "stem": lambda i: f"stem {model.stems[i]}",
        "frame": lambda i: f"frame {i} ({i * stft.hop_length / stft.sample_rate:.3f} s)",
        "sample": lambda i: f"sample {i} ({i / stft.sample_rate:.3f} s)",
        "bin": lambda i: f"bin {i} ({i * hertz:.0f} Hz)",
        "band": band,
        "channel": lambda i: f"channel {i}" + (f" ({('left', 'right')[i]})" if model.channels == 2 else ""),
        "part": lambda i: ("real", "imaginary")[i],
    }
    return ", ".join(words[axis](i) if axis in words else f"{axis} {i}" for axis, i in zip(axes, index, strict=True))
