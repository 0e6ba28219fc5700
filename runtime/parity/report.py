"""The result of a comparison stage by stage, as text for a terminal and as one HTML file with plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.engine.manifest import Manifest
from runtime.parity.pictures import error_bars, spectrograms
from runtime.parity.sdr_change import MOST_CHANGE, SdrChange
from runtime.parity.stages import STEMS, Stage, compare
from runtime.pictures.page import Markup, heading, page, paragraph, picture, table, verdict

Float = NDArray[np.float32]

COLUMNS = ("stage", "max error", "RMS error", "SNR, dB", "allowed", "verdict", "worst at")
SDR_COLUMNS = ("stem", "mixture, dB", "before, dB", "after, dB", "change, dB", "verdict")

MASK = "the network's result: for each frequency of each frame, the complex factor that turns the mixture into a stem."
MEANING = {
    "STFT": "the spectrogram: the song in short overlapping frames, each split into its frequencies. That of the "
    "runtime, or of an engine with the STFT inside, is compared with torch.stft.",
    "band features": "the network's first step: neighbouring frequencies grouped into sub-bands, each described by a "
    "vector of numbers.",
    "layer": "the main part of the network: each layer works along time within each sub-band, then across sub-bands.",
    "mask": MASK,
    "mask (recovered)": f"{MASK} This engine does not output it, so it is recovered by dividing the stems by the "
    "mixture where the mixture is above -60 dB of its peak. An engine exported with --probe outputs the mask and the "
    "steps before it.",
    "masked spectrogram": "the mixture times the mask: the stems as spectrograms.",
    "waveform": "the stems as audio, compared with those of torch.istft.",
}


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared."""

    engine: str  # its file
    executor: str
    against: str  # where the reference is from, in words
    manifest: Manifest
    stages: list[Stage]
    sdr: list[SdrChange]  # empty without true stems

    @property
    def passed(self) -> bool:
        return all(each.passed for each in self.stages) and all(each.passed for each in self.sdr)

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        failed = [each.name for each in self.stages if not each.passed]
        failed += [f"the SDR of {each.stem}" for each in self.sdr if not each.passed]
        if failed:
            return f"FAILED: {', '.join(failed)} {'is' if len(failed) == 1 else 'are'} not within tolerance"
        compared = [each.stem for each in self.sdr if each.change is not None]
        others = [each.stem for each in self.sdr if each.change is None]
        songs = f" and the SDR of {', '.join(compared)}" if compared else ""
        untold = f"; the SDR of {', '.join(others)} was not compared: add --ckpt" if others else ""
        return f"passed: all {len(self.stages)} stages{songs} within tolerance{untold}"


def as_text(comparison: Comparison) -> str:
    """Tables for a terminal, then the summary."""
    parts = [
        f"{comparison.engine}: {comparison.manifest.precision}, {comparison.executor}\nagainst {comparison.against}",
        _aligned(COLUMNS, [_stage_row(stage) for stage in comparison.stages]),
    ]
    if comparison.sdr:
        parts.append(_aligned(SDR_COLUMNS, [_sdr_row(each) for each in comparison.sdr]))
    return "\n\n".join([*parts, comparison.summary])


def _stage_row(stage: Stage) -> list[str]:
    tolerance, required = stage.tolerance
    allowed = f"{tolerance:.0e}, {required:.0f} dB"
    if stage.difference is None:
        return [stage.name, f"{stage.not_finite} NaN/Inf", "-", "-", allowed, "FAILED", f"first: {stage.worst}"]
    found = stage.difference
    snr = "no error" if found.snr_db is None else f"{found.snr_db:.1f}"
    word = "ok" if stage.passed else "FAILED"
    return [stage.name, f"{found.max_error:.1e}", f"{found.rms_error:.1e}", snr, allowed, word, stage.worst]


def _sdr_row(each: SdrChange) -> list[str]:
    before = "-" if each.reference is None else f"{each.reference:.3f}"
    change = "-" if each.change is None else f"{each.change:+.4f}"
    word = "FAILED" if not each.passed else "ok" if each.change is not None else "not compared"
    return [each.stem, f"{each.mixture:.3f}", before, f"{each.engine:.3f}", change, word]


def _aligned(header: Sequence[str], rows: list[list[str]]) -> str:
    """Columns of text; the first and the last are left-aligned."""
    lines = [list(header), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    last = len(header) - 1

    def cell(i: int, text: str) -> str:
        return text.ljust(widths[i]) if i in (0, last) else text.rjust(widths[i])

    return "\n".join("  ".join(cell(i, text) for i, text in enumerate(line)).rstrip() for line in lines)


def as_html(comparison: Comparison, mixture: Float, reference: Float, found: Float) -> str:
    """One self-contained page. `mixture` [b, t, f, c, 2]; `reference` and `found`, the stems [b, s, t, f, c, 2].

    Raises OptionError without matplotlib.
    """
    manifest = comparison.manifest
    parts = [
        paragraph(
            f"{comparison.engine} ({manifest.precision}, {comparison.executor}) is a network exported from PyTorch "
            f"that separates music into stems ({', '.join(manifest.model.stems)}). Here, the engine and the network in "
            "PyTorch got the same input, and their results were compared after each processing step. Compared with: "
            f"{comparison.against}."
        ),
        heading("Stage by stage"),
        table(COLUMNS, [_marked(_stage_row(each), each.passed) for each in comparison.stages], text=(6,)),
        paragraph(
            "Max error: the largest difference between two numbers, relative to the largest number of PyTorch in that "
            "stage (1e-6 is a millionth). RMS error: the root mean square of all differences, relative to the same. "
            "SNR: the signal-to-noise ratio, the error being the noise; 20 dB more mean an error ten times smaller. "
            "Allowed: the largest max error and the smallest SNR that pass, which depend on the engine's precision. "
            "Worst at: the position of the largest error. NaN/Inf: invalid numbers; a single one fails a stage."
        ),
        picture(
            error_bars(comparison.stages),
            "The largest error of each stage, which must be left of its limit. The scale is logarithmic.",
            "largest error of each stage and its limit",
        ),
        heading("The stages"),
        table(("stage", "meaning"), _meanings(comparison.stages), text=(1,)),
        heading("Spectrograms of the stems"),
        paragraph(
            "Time runs to the right, frequency upwards; bright is loud. PyTorch's stem and the engine's should look "
            "the same. The difference has the same colour scale: it should be black; shapes that resemble the music "
            "mean errors; red marks NaN and Inf. A circle marks the largest error."
        ),
    ]
    worst = compare("stems", STEMS, found[:1], reference, manifest.precision, manifest)
    for i, stem in enumerate(manifest.model.stems):
        figure = spectrograms(mixture[0], reference[0, i], found[0, i], manifest, worst, i)
        parts.append(
            picture(figure, f"Stem {stem}.", f"spectrograms of {stem}: mixture, reference, engine, difference")
        )
    if comparison.sdr:
        parts += [heading("SDR before and after the export"), *_sdr_part(comparison.sdr)]
    word = verdict(comparison.passed, comparison.summary)
    return page(f"Parity of {comparison.engine}", word, parts)


def _marked(row: list[str], passed: bool) -> list[object]:
    """For the page: the verdict in colour."""
    return [*row[:5], verdict(passed, row[5]), *row[6:]]


def _meanings(stages: list[Stage]) -> list[tuple[str, str]]:
    layers = [stage.name for stage in stages if stage.name.startswith("layer")]
    rows = []
    for stage in stages:
        if stage.name not in layers:
            rows.append((stage.name, MEANING[stage.name]))
        elif stage.name == layers[0]:
            rows.append((layers[0] if len(layers) == 1 else f"layer 1 to {len(layers)}", MEANING["layer"]))
    return rows


def _sdr_part(sdr: list[SdrChange]) -> list[Markup]:
    return [
        table(SDR_COLUMNS, [_marked(_sdr_row(each), each.passed) for each in sdr]),
        paragraph(
            "The whole song was separated and compared with its true stems. SDR: how much stronger the true stem is "
            "than the error in the result; higher is better. Mixture: SDR of the song without separation. Before: of "
            f"the network in PyTorch. After: of the engine. The change may be at most {MOST_CHANGE[sdr[0].precision]} "
            "dB in either direction."
        ),
    ]
