"""The measurement as one HTML file, for readers who have not seen this project before."""

from __future__ import annotations

from runtime.bench.pictures import bars, by_batch, by_length, cost
from runtime.bench.results import Bench, Products
from runtime.bench.text import (
    PRODUCT_COLUMNS,
    STAGES,
    SWEEP_COLUMNS,
    columns,
    machine_rows,
    number,
    product_rows,
    rows,
    spread,
    stage_rows,
    sweep_rows,
    unmeasured,
    work_of,
)
from runtime.pictures.page import Markup, heading, page, paragraph, picture, table, verdict

KINDS = {
    "engine": "an engine: the network as one file that needs no PyTorch, as bsm-run runs it",
    "torch": "the network in PyTorch, run operation by operation (eager), without gradients",
    "torch.compile": "the network in PyTorch, compiled by torch.compile before its first run",
}
MEANING = {
    "cold start, s": "opening it (reading and checking the file, loading its libraries, preparing the network) and the "
    "first run together: what someone waits for the first result. The file may be in the system's cache already.",
    "run 1, s": "the first run alone. It touches memory for the first time; torch.compile compiles in it.",
    "run 3, s": "the third run: where it is much below the first, a program that stays open gains that much.",
    "median, s": "half of the runs after the warm-up took less, half took more.",
    "p95, s": "95 of 100 runs take less; of a handful of runs, nearly the slowest one.",
    "x real time": "seconds of music done in a second; above 1 it is faster than listening.",
    "memory, MB": "the most memory its process held up to the last of these runs, Python itself (some tens of MB) "
    "included.",
    "GPU, MB": "GPU memory taken by opening it and by its first run.",
    "ratio": "its time over the first contender's for the same length of music, compared within each round: median "
    "(least to most). 2 takes twice as long.",
}
STAGE_MEANING = (
    "read: the WAV file into memory. stft: sound into a spectrogram. engine: the network. istft: spectrograms into "
    "sound again. write: the stems into WAV files. other: everything else, such as joining chunks and checks."
)


def as_html(bench: Bench) -> str:
    """One self-contained page. Raises OptionError without matplotlib."""
    names = ", ".join(each.name for each in bench.outcomes)
    parts = [*_intro(bench), *_results(bench), *_stages(bench), *_products(bench), *_sweeps(bench)]
    parts += [heading("The machine"), table(("what", "which"), machine_rows(bench.machine), text=[1])]
    parts.append(paragraph(f"Measured on {bench.created}."))
    return page(f"Speed of {names}", _summary(bench), parts)


def _summary(bench: Bench) -> str:
    first = bench.first
    text = (
        f"{first.name} takes {number(first.seconds)} s for {number(first.work.seconds)} s of music "
        f"({number(first.times_real_time)} times real time)"
    )
    others = [f"{each.name} takes {spread(bench.ratio(each))} times as long" for each in bench.run[1:]]
    return "; ".join([text, *others]) + "."


def _intro(bench: Bench) -> list[Markup]:
    threads = "the default number of CPU threads" if bench.threads is None else f"CPU threads: {bench.threads}"
    parts = [
        heading("What was measured"),
        paragraph(
            "The network splits music into stems, such as the vocals. It works on a spectrogram (how strong each "
            "frequency is at each moment) of a chunk of some seconds, and gives the spectrogram of each stem. Its "
            "speed depends on the size of that input, not on what the music is: here it is random numbers."
        ),
        paragraph(
            f"Each contender ran in a process of its own ({threads}). They took turns: first {_rounds(bench.warmup)} "
            f"of warm-up, then {_rounds(bench.rounds)} that count; in each round every contender ran once, so "
            "that whatever else the machine was doing hit all of them alike."
        ),
        table(
            ("contender", "what it is", "numbers", "run by", "given"),
            [
                (each.name, KINDS[each.kind], each.precision, each.executor or "-", work_of(each))
                for each in bench.outcomes
            ],
            text=[1, 3, 4],
        ),
    ]
    if bench.requirement is not None:
        parts.append(paragraph(verdict(bench.requirement.met, bench.requirement.text)))
    parts += [paragraph(verdict(False, f"{o.name} was not run: {o.not_run}")) for o in bench.outcomes if o.not_run]
    return parts


def _results(bench: Bench) -> list[Markup]:
    shown = columns(bench)
    caption = "Time of a run, less is better: the median; the black line goes from the fastest round to the slowest."
    if any(isinstance(each.products, Products) for each in bench.run):
        caption += " Red: the matrix products of that engine, computed alone: its limit on this machine."
    return [
        heading("Results"),
        table(shown, rows(bench)),
        picture(bars(bench), caption, "bars of the time of a run of each contender"),
        heading("What the columns mean"),
        table(("column", "meaning"), [(name, MEANING[name]) for name in shown[1:]], text=[1]),
    ]


def _stages(bench: Bench) -> list[Markup]:
    shown = stage_rows(bench)
    if not shown:
        return []
    return [
        heading("From a file to its stems"),
        paragraph("Where the seconds go when an engine separates a WAV file as long as its input."),
        table(("engine", *STAGES), shown),
        paragraph(STAGE_MEANING),
    ]


def _products(bench: Bench) -> list[Markup]:
    shown, missing = product_rows(bench), list(unmeasured(bench))
    if not shown and not missing:
        return []
    parts = [
        heading("The limit: matrix products"),
        paragraph(
            "Nearly all of the arithmetic of such a network is in its matrix products. Those of one run of the engine "
            "were computed again, each alone with its operands in place, in the same rounds as the contenders: their "
            "time is what an engine without anything else would take on this machine. GFLOP: billions of "
            "multiplications and additions in one run. Times its products: how often they would fit into a "
            "run; 1 is the limit. Products of tiny networks take less than what starting one takes, and say nothing."
        ),
    ]
    if shown:
        parts.append(table(PRODUCT_COLUMNS, shown))
    return [*parts, *(paragraph(f"{name}: not measured: {reason}") for name, reason in missing)]


def _sweeps(bench: Bench) -> list[Markup]:
    parts: list[Markup] = []
    linear = "Dashed: what it would be if twice the work took twice the time; above it, more work costs more than that."
    for series, axis, title in (
        (by_length(bench), "frames", "Cost against length"),
        (by_batch(bench), "batch", "Cost against batch"),
    ):
        if series:
            parts += [heading(title), picture(cost(series, axis), linear, f"{title.lower()}, a line a contender")]
    swept = sweep_rows(bench)
    return [*parts, table(SWEEP_COLUMNS, swept)] if swept else parts


def _rounds(number: int) -> str:
    return f"{number} round{'' if number == 1 else 's'}"
