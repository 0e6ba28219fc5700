"""The tables of the paper with measured figures, published ones below them. Cells are text, for terminal and page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from runtime.bench.text import aligned
from runtime.evaluation import published
from runtime.evaluation.results import RESAMPLES, UNSEPARATED, Evaluation, Interval, Judged, over_tracks
from runtime.evaluation.segments import CLASSES

FIGURES = {"usdr": "uSDR", "csdr": "cSDR", "si_sdr": "SI-SDR", "bleedless": "bleedless", "fullness": "fullness"}
NONE = "-"


@dataclass(frozen=True)
class Table:
    """`published` are rows of others' figures; `note` says what must be known to read the table."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    published: list[tuple[str, ...]] = field(default_factory=list)
    note: str = ""


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Those that the evaluation has figures for."""
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
    """Aligned columns for a terminal, measured rows first."""
    header, *rows = aligned(table.header, [*table.rows, *table.published]).splitlines()
    measured, others = rows[: len(table.rows)], rows[len(table.rows) :]
    if others:
        others = [f"{published.SOURCE}:", *others]
    return "\n".join([table.title, header, *measured, *others, table.note])


def _whole(evaluation: Evaluation, stem: str) -> Table:
    rows = [
        (_named(evaluation, model), *(_figure(over_tracks(evaluation.of(model, stem), name), name) for name in FIGURES))
        for model in _with_mixture(evaluation)
    ]
    others: list[tuple[str, ...]] = []
    if stem == "vocals":
        others = [(name, _cell(u), _cell(c), NONE, NONE, NONE) for name, (u, c) in published.WHOLE.items()]
    return Table(
        f"{stem.capitalize()}: whole songs (the paper's Table II)" if others else f"{stem.capitalize()}: whole songs",
        ("model", *FIGURES.values()),
        rows,
        others,
        f"dB, but for bleedless and fullness (0 to 100). {_tracks(evaluation)}",
    )


def _by_segment(evaluation: Evaluation) -> Table:
    names = tuple(f"{low:g}-{high:g} s" for low, high in CLASSES)
    found = {model: evaluation.by_segment(model) for model in _with_mixture(evaluation)}
    rows = [(_named(evaluation, model), *(_cell(value) for value, _ in cells)) for model, cells in found.items()]
    counts = ", ".join(f"{n} of {name}" for name, (_, n) in zip(names, found[UNSEPARATED], strict=True))
    others = [(name, *(_cell(value) for value in values)) for name, values in published.BY_SEGMENT.items()]
    return Table(
        "Vocals: uSDR by length of the vocal segment (the paper's Table III)",
        ("model", *names),
        rows,
        others,
        f"Mean over the segments of the true stem in which the voice is heard: {counts}.",
    )


def _by_length(evaluation: Evaluation, stem: str) -> Table:
    header = tuple(f"{n:g} s {name}" for n in evaluation.lengths for name in ("uSDR", "cSDR"))
    rows = []
    for model in evaluation.models:
        cells: list[str] = []
        for seconds in evaluation.lengths:
            judged = evaluation.of(model, stem, seconds)
            cells += [_cell(_value(judged, "usdr")), _cell(_value(judged, "csdr"))]
        rows.append((model, *cells))
    others: list[tuple[str, ...]] = []
    if stem == "vocals":
        for name, known in published.BY_LENGTH.items():
            pairs = [known.get(int(n), (None, None)) if n == int(n) else (None, None) for n in evaluation.lengths]
            others.append((name, *(_cell(value) for pair in pairs for value in pair)))
    title = f"{stem.capitalize()}: by length of the input"
    return Table(f"{title} (the paper's Table IV)" if others else title, ("model", *header), rows, others, "dB.")


def _by_track(evaluation: Evaluation, stem: str) -> Table:
    models = _with_mixture(evaluation)
    rows = []
    for track in evaluation.tracks:
        cells: list[str] = []
        for model in models:
            judged = [each for each in evaluation.of(model, stem) if each.track == track]
            cells += [_cell(_value(judged, "usdr")), _cell(_value(judged, "csdr"))]
        rows.append((track, *cells))
    header = tuple(f"{model} {name}" for model in models for name in ("uSDR", "cSDR"))
    return Table(f"{stem.capitalize()}: song by song", ("song", *header), rows, [], "dB.")


def _with_mixture(evaluation: Evaluation) -> list[str]:
    return [UNSEPARATED, *evaluation.models]


def _named(evaluation: Evaluation, model: str) -> str:
    return model if model == UNSEPARATED else f"{model}, {evaluation.own[model]:g} s"


def _tracks(evaluation: Evaluation) -> str:
    count = len(evaluation.tracks)
    if count == 1:
        return "One song: no interval can be given."
    means = "uSDR and the rest are means over songs, cSDR is the median."
    return f"{count} songs: {means} In brackets: 95% of {RESAMPLES} bootstrap draws of the songs."


def _value(judged: Iterable[Judged], figure: str) -> float | None:
    found = over_tracks(list(judged), figure)
    return None if found is None else found.value


def _figure(found: Interval | None, name: str) -> str:
    """With its interval, where it is one of the paper's."""
    if found is None or found.low is None or found.high is None or name not in ("usdr", "csdr"):
        return _cell(None if found is None else found.value)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _cell(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
