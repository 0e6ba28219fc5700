"""The paper's tables with measured and published figures. Cells are text, for terminal and HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from runtime.bench.text import aligned
from runtime.evaluation import published
from runtime.evaluation.results import RESAMPLES, UNSEPARATED, Evaluation, Interval, Judged, over_tracks
from runtime.evaluation.segments import CLASSES

FIGURES = {"usdr": "uSDR", "csdr": "cSDR", "si_sdr": "SI-SDR", "bleedless": "bleedless", "fullness": "fullness"}
NONE = "-"
WITHIN = f"In brackets: 95% bootstrap interval over songs ({RESAMPLES} draws)."


@dataclass(frozen=True)
class Table:
    """`note` explains how to read it."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """The tables for which the evaluation has figures."""
    for stem in evaluation.stems:
        yield _whole(evaluation, stem)
    if "vocals" in evaluation.stems:
        yield _by_segment(evaluation)
    if len(evaluation.lengths) > 1:
        for stem in evaluation.stems:
            yield _by_length(evaluation, stem)
    if len(evaluation.tracks) > 1:
        for stem in evaluation.stems:
            yield _by_track(evaluation, stem)


def as_text(table: Table) -> str:
    return f"{table.title}\n{aligned(table.header, table.rows)}\n{table.note}"


def _whole(evaluation: Evaluation, stem: str) -> Table:
    rows: list[tuple[str, ...]] = [
        (_named(evaluation, model), *(_figure(over_tracks(evaluation.of(model, stem), name), name) for name in FIGURES))
        for model in _with_mixture(evaluation)
    ]
    title, note = f"{stem.capitalize()}: whole songs", f"In dB, except bleedless and fullness. {_tracks(evaluation)}"
    if stem == "vocals":
        others = {name: (_cell(u), _cell(c), NONE, NONE, NONE) for name, (u, c) in published.WHOLE.items()}
        rows, title, note = rows + _published(others), f"{title} (the paper's Table II)", f"{note} {published.NOTE}"
    return Table(title, ("model", *FIGURES.values()), rows, note)


def _by_segment(evaluation: Evaluation) -> Table:
    names = tuple(f"{low:g}-{high:g} s" for low, high in CLASSES)
    found = {model: evaluation.by_segment(model) for model in _with_mixture(evaluation)}
    rows = [(_named(evaluation, model), *(_cell(value) for value, _ in cells)) for model, cells in found.items()]
    others = {name: tuple(map(_cell, values)) for name, values in published.BY_SEGMENT.items()}
    counts = ", ".join(f"{n} of {name}" for name, (_, n) in zip(names, found[UNSEPARATED], strict=True))
    return Table(
        "Vocals: uSDR by length of the vocal segment (the paper's Table III)",
        ("model", *names),
        rows + _published(others),
        f"In dB, mean over the segments in which the true stem has vocals: {counts}. {published.NOTE}",
    )


def _by_length(evaluation: Evaluation, stem: str) -> Table:
    header = ("model", *(f"{n:g} s {name}" for n in evaluation.lengths for name in ("uSDR", "cSDR")))
    rows = []
    for model in evaluation.models:
        cells: list[str] = []
        for seconds in evaluation.lengths:
            judged = evaluation.of(model, stem, seconds)
            cells += [_cell(_value(judged, "usdr")), _cell(_value(judged, "csdr"))]
        rows.append((model, *cells))
    title, note = f"{stem.capitalize()}: by input length", "In dB: uSDR is the mean over songs, cSDR the median."
    if stem == "vocals":
        others = {
            name: tuple(_cell(value) for n in evaluation.lengths for value in known.get(n, (None, None)))
            for name, known in published.BY_LENGTH.items()
        }
        rows, title, note = rows + _published(others), f"{title} (the paper's Table IV)", f"{note} {published.NOTE}"
    return Table(title, header, rows, note)


def _published(others: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [(f"{name}, published", *cells) for name, cells in others.items()]


def _by_track(evaluation: Evaluation, stem: str) -> Table:
    models = _with_mixture(evaluation)
    rows = []
    for track in evaluation.tracks:
        cells: list[str] = []
        for model in models:
            judged = [each for each in evaluation.of(model, stem) if each.track == track]
            cells += [_cell(_value(judged, "usdr")), _cell(_value(judged, "csdr"))]
        rows.append((track, *cells))
    header = ("song", *(f"{model} {name}" for model in models for name in ("uSDR", "cSDR")))
    return Table(f"{stem.capitalize()}: by song", header, rows, "In dB.")


def _with_mixture(evaluation: Evaluation) -> list[str]:
    return [UNSEPARATED, *evaluation.models]


def _named(evaluation: Evaluation, model: str) -> str:
    return model if model == UNSEPARATED else f"{model}, {evaluation.own[model]:g} s"


def _tracks(evaluation: Evaluation) -> str:
    count = len(evaluation.tracks)
    if count == 1:
        return "One song, so no interval."
    return f"{count} songs: cSDR is the median over songs, the other figures are means. {WITHIN}"


def _value(judged: Iterable[Judged], figure: str) -> float | None:
    found = over_tracks(list(judged), figure)
    return None if found is None else found.value


def _figure(found: Interval | None, name: str) -> str:
    """With its interval, for the figures of the paper."""
    if found is None or found.low is None or found.high is None or name not in ("usdr", "csdr"):
        return _cell(None if found is None else found.value)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _cell(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
