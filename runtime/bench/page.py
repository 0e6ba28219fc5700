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
    "engine": "an engine: the network in one file, run by bsm-run without PyTorch",
    "torch": "the network in PyTorch, eager, without gradients",
    "torch.compile": "the network in PyTorch, compiled by torch.compile before its first run",
}
MEANING = {
    "cold start, s": "opening (reading and checking the file, loading libraries, preparing the network) plus the first "
    "run: the time until the first result. The file may already be in the system's cache.",
    "run 1, s": "the first run alone. It uses its memory for the first time; torch.compile compiles in it.",
    "run 3, s": "the third run: what a program that stays open needs per run.",
    "median, s": "half of the measured runs were faster, half were slower.",
    "p95, s": "95 of 100 runs are faster; with few runs, this is close to the slowest run.",
    "x real time": "seconds of music processed per second; above 1 is faster than real time.",
    "memory, MB": "the peak memory of its process during these runs, including Python itself (some tens of MB).",
    "GPU, MB": "GPU memory used by opening it and by its first run.",
    "ratio": "its time divided by that of the first contender, for the same length of music and within each round: "
    "median (min to max). 2 means twice as long.",
}
STAGE_MEANING = (
    "read: reading the WAV file. stft: sound to spectrogram. engine: the network. istft: spectrograms back to sound. "
    "write: writing the stems as WAV files. other: the rest, such as overlap-add and checks."
)


def as_html(bench: Bench) -> str:
    """One self-contained page. Raises OptionError without matplotlib."""
    names = ", ".join(each.name for each in bench.outcomes)
    parts = [*_intro(bench), *_results(bench), *_stages(bench), *_products(bench), *_sweeps(bench)]
    parts += [heading("The machine"), table(("part", "details"), machine_rows(bench.machine), text=[1])]
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
            "The network separates music into stems, such as vocals. Its input is the spectrogram of a chunk of music "
            "a few seconds long (how strong each frequency is at each moment), its output the spectrogram of each "
            "stem. From waveforms to waveforms, both transforms are part of the work. Its speed depends on the size of "
            "the input, not on the music: here the input is random numbers."
        ),
        paragraph(
            f"Each contender ran in its own process ({threads}). They took turns: {_rounds(bench.warmup)} of warm-up, "
            f"then {_rounds(bench.rounds)} that were measured. In each round every contender ran once, so that other "
            "load on the machine affected all of them alike."
        ),
        table(
            ("contender", "what it is", "precision", "run by", "input"),
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
    caption = "Median time per run (less is better). Black lines: from the fastest to the slowest round."
    if any(isinstance(each.products, Products) for each in bench.run):
        caption += " Red: the matrix products of that engine alone, its lower limit on this machine."
    return [
        heading("Results"),
        table(shown, rows(bench)),
        picture(bars(bench), caption, "time per run of each contender"),
        heading("The columns"),
        table(("column", "meaning"), [(name, MEANING[name]) for name in shown[1:]], text=[1]),
    ]


def _stages(bench: Bench) -> list[Markup]:
    shown = stage_rows(bench)
    if not shown:
        return []
    return [
        heading("From a sound file to its stems"),
        paragraph("Seconds per step when an engine separates a WAV file as long as its input."),
        table(("engine", *STAGES), shown),
        paragraph(STAGE_MEANING),
    ]


def _products(bench: Bench) -> list[Markup]:
    shown, missing = product_rows(bench), list(unmeasured(bench))
    if not shown and not missing:
        return []
    parts = [
        heading("The lower limit: matrix products"),
        paragraph(
            "Nearly all arithmetic of such a network is in its matrix products. The products of one run of the engine "
            "were computed again, each alone, in the same rounds as the contenders. Their total time is what an "
            "engine that did nothing else would need on this machine. GFLOP: billions of multiplications and "
            "additions in one run. Times its products: the engine's time divided by that of its products; 1 is the "
            "limit. For tiny networks these figures mean little, as starting a product takes longer than computing it."
        ),
    ]
    if shown:
        parts.append(table(PRODUCT_COLUMNS, shown))
    return [*parts, *(paragraph(f"{name}: not measured: {reason}") for name, reason in missing)]


def _sweeps(bench: Bench) -> list[Markup]:
    parts: list[Markup] = []
    linear = "Dashed: cost that is proportional to the work. Above it, the cost grows faster than the work."
    for series, axis, title in (
        (by_length(bench), "frames", "Cost by chunk length"),
        (by_batch(bench), "batch", "Cost by batch size"),
    ):
        if series:
            parts += [heading(title), picture(cost(series, axis), linear, f"{title.lower()}, one line per contender")]
    swept = sweep_rows(bench)
    return [*parts, table(SWEEP_COLUMNS, swept)] if swept else parts


def _rounds(number: int) -> str:
    return f"{number} round{'' if number == 1 else 's'}"
