"""The evaluation as one HTML file, for readers who do not know this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.evaluation.published import BY_LENGTH
from runtime.evaluation.results import UNSEPARATED, Evaluation, over_tracks
from runtime.evaluation.tables import FIGURES, tables
from runtime.pictures.page import heading, new_figure, page, paragraph, picture, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEANING = (
    ("SDR", "signal-to-distortion ratio, in dB: how much stronger the true stem is than the error of the estimate; "
     "silence gets 0, 10 is good, 6 dB more halve the error"),
    ("uSDR", "SDR of a whole song; mean over songs"),
    ("cSDR", "median of the SDR of all seconds of a song; median over songs. Seconds in which the true stem or the "
     "estimate is silent do not count"),
    ("SI-SDR", "SDR that does not depend on the estimate's loudness"),
    ("bleedless", "0 to 100: absence of sound that does not belong to the stem"),
    ("fullness", "0 to 100: completeness of the stem"),
    (UNSEPARATED, "the mixture itself, taken as the stem: the baseline"),
)  # fmt: skip


def as_html(evaluation: Evaluation) -> str:
    """One self-contained page. Raises OptionError without matplotlib."""
    names = ", ".join(evaluation.models)
    parts = [
        heading("What was measured"),
        paragraph(
            "The models separated songs with known stems, and the results were compared with the true stems. Songs are "
            f"processed in chunks of the input length in the tables, with {evaluation.overlap:.0%} overlap (the paper: "
            "0%)."
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
        caption = "Vocals by input length. Dashed: published figures of other networks on other songs."
        parts += [heading("Input length"), picture(_by_length(evaluation), caption, "SDR against input length")]
    parts += [heading("The terms"), table(("term", "meaning"), MEANING, text=[1])]
    parts.append(paragraph(f"Measured on {evaluation.created}, on {evaluation.machine.cpu}; songs: {evaluation.data}."))
    return page(f"Separation by {names}", _summary(evaluation), parts)


def _summary(evaluation: Evaluation) -> str:
    stem = evaluation.stems[0]
    before = over_tracks(evaluation.of(UNSEPARATED, stem), "usdr")
    parts = []
    for model in evaluation.models:
        after = over_tracks(evaluation.of(model, stem), "usdr")
        if before is not None and after is not None:
            parts.append(f"{model} improves the {stem} from {before.value:.2f} to {after.value:.2f} dB uSDR")
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
