"""The evaluation as one HTML file, for readers who have not seen this project before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.evaluation.published import BY_LENGTH
from runtime.evaluation.results import UNSEPARATED, Evaluation, over_tracks
from runtime.evaluation.tables import FIGURES, tables
from runtime.pictures.page import heading, new_figure, page, paragraph, picture, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEANING = (
    ("SDR", "how much louder the true stem is than the difference between it and the estimate, in dB: 0 is what "
     "silence gets, 10 is good, each 6 dB halve the difference"),
    ("uSDR", "SDR of a whole song; the mean over songs"),
    ("cSDR", "SDR of every second of a song, and of those the median; the median over songs. Seconds in which the true "
     "stem or the estimate is silent do not count"),
    ("SI-SDR", "SDR after turning the true stem up or down to fit best: what is left when loudness does not count"),
    ("bleedless", "0 to 100: how little is heard that does not belong to the stem"),
    ("fullness", "0 to 100: how little of the stem is missing"),
    (UNSEPARATED, "the mixture itself taken for the stem: what a model has to gain on"),
)  # fmt: skip


def as_html(evaluation: Evaluation) -> str:
    """One self-contained page. Raises OptionError without matplotlib."""
    names = ", ".join(evaluation.models)
    parts = [
        heading("What was measured"),
        paragraph(
            "The models separate songs whose stems are known, and what they give is compared with the true stems. A "
            f"song is cut into pieces of the length in the tables, which share {evaluation.overlap:.0%} with their "
            "neighbours (the paper: 0%)."
        ),
        table(
            ("model", "input, s", "run by"),
            [(m, f"{evaluation.own[m]:g}", evaluation.run_by[m]) for m in evaluation.models],
            text=[2],
        ),
    ]
    for each in tables(evaluation):
        parts += [heading(each.title), table(each.header, each.rows), paragraph(each.note)]
    if len(evaluation.lengths) > 1 and "vocals" in evaluation.stems:
        caption = "The vocals by the length of the pieces. Dashed: published, of other networks on other songs."
        parts += [heading("Length of the input"), picture(_by_length(evaluation), caption, "SDR against input length")]
    parts += [heading("What the words mean"), table(("word", "meaning"), MEANING, text=[1])]
    parts.append(paragraph(f"Measured on {evaluation.created}, on {evaluation.machine.cpu}; songs: {evaluation.data}."))
    return page(f"Separation by {names}", _summary(evaluation), parts)


def _summary(evaluation: Evaluation) -> str:
    stem = evaluation.stems[0]
    before = over_tracks(evaluation.of(UNSEPARATED, stem), "usdr")
    parts = []
    for model in evaluation.models:
        after = over_tracks(evaluation.of(model, stem), "usdr")
        if before is not None and after is not None:
            parts.append(f"{model} brings the {stem} from {before.value:.2f} to {after.value:.2f} dB uSDR")
    count = len(evaluation.tracks)
    return f"{'; '.join(parts)} ({'one song' if count == 1 else f'{count} songs'})."


def _by_length(evaluation: Evaluation) -> Figure:
    figure = new_figure(9, 4)
    for column, (axes, name) in enumerate(zip(figure.subplots(1, 2), ("usdr", "csdr"), strict=True)):
        for model in evaluation.models:
            points = [(n, over_tracks(evaluation.of(model, "vocals", n), name)) for n in evaluation.lengths]
            known = [(n, found.value) for n, found in points if found is not None]
            axes.plot([n for n, _ in known], [value for _, value in known], marker="o", label=model)
        for model, figures in BY_LENGTH.items():
            values = [each[column] for each in figures.values()]
            axes.plot(list(figures), values, "--", alpha=0.5, label=f"{model}, published")
        axes.set_xlabel("input length, s")
        axes.set_ylabel(f"{FIGURES[name]}, dB")
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
