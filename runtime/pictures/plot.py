"""A picture of a song and its stems: waveform, vocal activity, and mel spectrograms as in Fig. 2 of the paper."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.audio import open_song
from runtime.pictures.mel import Float, Picture, Sketch
from runtime.pictures.page import new_figure, write_whole
from runtime.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE = 80.0  # dB, from black to the brightest
VOICE = "vocals"  # the stem that shows where the voice is
VOICE_RANGE = 25.0  # dB below the loud parts of the song: quieter vocals do not count
LEAST = 1e-8  # mean square of the quietest "loud" part: -80 dB of full scale
SMOOTHED = 0.1  # s, over which a level is averaged
PAUSE = 0.25  # s: consonants and breaths, which are shorter, do not end a phrase
SONG_COLOUR, VOICE_COLOUR = "#8c959f", "#d9480f"
STEPS = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)  # s, between times on the axis
CAPTION = (
    "Colours: level by time and frequency, on the mel scale. "
    f"Voice: where the vocals are within {VOICE_RANGE:g} dB of the song's loud parts."
)
TICKS = (200, 500, 1000, 2000, 4000, 8000, 16000)  # Hz


def plot_song(
    path: Path,
    title: str,
    song: Path,
    stems: Mapping[str, Path],
    progress: Callable[[int], None] = lambda samples: None,
    existing: str = "replace",
) -> bool:
    """Draw `song` and its `stems`, files by name, into the PNG file at `path`; `existing` is as in `write_whole`.

    Sound files are read in blocks: memory does not grow with their length. `progress` is called with the part of the
    files that is read, in samples of the song. Returns whether the file was made. Raises AudioError for what cannot be
    read or written, OptionError without matplotlib.
    """
    done = 0

    def read(samples: int) -> None:
        nonlocal done
        done += samples
        progress(done // (1 + len(stems)))

    figure = draw(title, sketch(song, read), {name: sketch(stem, read) for name, stem in stems.items()})
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from ")  # a title in another script is drawn as boxes
        figure.savefig(png, format="png", dpi=120)
    return write_whole(path, png.getvalue(), existing)


def sketch(path: Path, read: Callable[[int], None] = lambda samples: None) -> Picture:
    """The picture of a sound file; `read` is called with the samples of each block. Raises AudioError."""
    with open_song(path) as song:
        gathered = Sketch(song.sample_rate, song.channels)
        for block in song.blocks():
            gathered.add(block)
            read(block.shape[1])
    return gathered.picture()


def voice(song: Picture, vocals: Picture) -> NDArray[np.bool_]:
    """Columns with voice, [columns]: where the vocals are within `VOICE_RANGE` of the loud parts of the song.

    Loud is the level that 95% of the song stays below. Levels are averaged over `SMOOTHED` seconds, and pauses shorter
    than `PAUSE` count as voice.
    """
    loud = max(LEAST, float(np.quantile(song.energy, 0.95)))
    heard = _mean_around(vocals.energy, SMOOTHED / vocals.column) > loud * 10 ** (-VOICE_RANGE / 10)
    for start, end in _runs(~heard):
        if start > 0 and end < len(heard) and (end - start) * vocals.column < PAUSE:
            heard[start:end] = True
    return heard


def _mean_around(values: Float, width: float) -> Float:
    """The mean of `width` neighbours of each value, fewer at the ends."""
    window = np.ones(max(1, min(len(values), round(width))))
    total: Float = np.convolve(values, window, "same")
    return total / np.convolve(np.ones(len(values)), window, "same")


def _runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First column of every run of active columns, and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(int)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def spans(active: NDArray[np.bool_], column: float, seconds: float) -> list[tuple[float, float]]:
    """Start and end, s, of every run of active columns of `column` s, in a song of `seconds`."""
    return [(start * column, min(end * column, seconds)) for start, end in _runs(active)]


def draw(title: str, song: Picture, stems: Mapping[str, Picture]) -> Figure:
    """Rows from top to bottom: waveform, vocal activity if `stems` has vocals, spectrograms of the song and each stem.

    Raises OptionError without matplotlib.
    """
    vocals = stems.get(VOICE)
    sounds = {"the song": song, **stems}
    heights = [1.0, *([0.22] if vocals else []), *[1.6] * len(sounds)]
    figure = new_figure(12, 1.1 + 1.25 * sum(heights))
    rows = list(figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights}))
    figure.suptitle(printable(title), fontsize=12, fontweight="bold", x=0.01, ha="left", parse_math=False)

    _waveform(rows[0], song, vocals)
    if vocals is not None:
        _voice_strip(rows[1], song, vocals)
    shown = rows[-len(sounds) :]
    peak = max(float(song.power.max()), LEAST)
    for axes, (name, sound) in zip(shown, sounds.items(), strict=True):
        decibels = 10 * np.log10(np.maximum(sound.power / peak, 10 ** (-RANGE / 10)))
        image = axes.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            extent=(0, len(decibels) * sound.column, -0.5, decibels.shape[1] - 0.5),
            vmin=-RANGE,
            vmax=0,
            cmap="magma",
        )
        _name(axes, name)
        _frequency_ticks(axes, sound.centres)
    figure.colorbar(image, ax=shown, label="level, dB below the song's peak", aspect=40, pad=0.01)
    rows[-1].set_xlim(0, song.seconds)
    if song.seconds < 60:
        rows[-1].set_xlabel("time, s")
    else:
        step = next((step for step in STEPS if song.seconds / step <= 12), 0)
        step = step or STEPS[-1] * math.ceil(song.seconds / STEPS[-1] / 12)
        moments = np.arange(0, song.seconds, step)
        rows[-1].set_xticks(moments, [clock(moment, song.seconds) for moment in moments])
        rows[-1].set_xlabel("time, minutes:seconds" if song.seconds < 3600 else "time, hours:minutes:seconds")
    figure.supxlabel(CAPTION, fontsize=9, color="#57606a", x=0.01, ha="left")
    return figure


def clock(seconds: float, length: float) -> str:
    """A time in a song of `length` seconds, as a player shows it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if length < 3600 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _waveform(axes: Axes, song: Picture, vocals: Picture | None) -> None:
    for sound, colour, label in ((song, SONG_COLOUR, "the song"), (vocals, VOICE_COLOUR, VOICE)):
        if sound is not None:
            edges = np.arange(len(sound.low) + 1) * sound.column
            axes.stairs(sound.high, edges, baseline=sound.low, fill=True, color=colour, label=label)
    limit = max(1.0, float(song.high.max()), -float(song.low.min()))
    axes.set_ylim(-limit, limit)
    axes.set_yticks([-1, 0, 1])
    axes.set_ylabel("waveform")
    axes.legend(loc="upper right", fontsize=8, ncols=2, framealpha=0.9, borderpad=0.3)
    _plain(axes)


def _voice_strip(axes: Axes, song: Picture, vocals: Picture) -> None:
    found = spans(voice(song, vocals), vocals.column, song.seconds)
    axes.broken_barh([(start, end - start) for start, end in found], (0, 1), color=VOICE_COLOUR)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    share = sum(end - start for start, end in found) / song.seconds
    axes.set_ylabel(f"voice: {share:.0%}", rotation=0, ha="right", va="center")
    _plain(axes)


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _name(axes: Axes, name: str) -> None:
    box = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 3}
    axes.text(
        0.005, 0.95, name, transform=axes.transAxes, color="white", va="top", fontsize=11, parse_math=False, bbox=box
    )


def _frequency_ticks(axes: Axes, centres: Float) -> None:
    ticks = [hertz for hertz in TICKS if hertz <= centres[-1]]
    axes.set_yticks(
        np.interp(ticks, centres, np.arange(len(centres))).tolist(),
        [f"{hertz / 1000:g} kHz" if hertz >= 1000 else f"{hertz} Hz" for hertz in ticks],
        fontsize=8,
    )
