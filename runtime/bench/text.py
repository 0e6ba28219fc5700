"""The measurement as text tables, which the HTML page shows as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtime.bench.machine import Machine
from runtime.bench.results import Bench, Outcome, Point, Products
from runtime.bench.spread import Spread

COLUMNS = (
    "contender",
    "cold start, s",
    "run 1, s",
    "run 3, s",
    "median, s",
    "p95, s",
    "x real time",
    "memory, MB",
    "GPU, MB",
    "ratio",
)
STAGES = ("read", "stft", "engine", "istft", "write", "other")
PRODUCT_COLUMNS = ("engine", "products alone, s", "GFLOP", "GFLOP/s", "times its products")
SWEEP_COLUMNS = ("contender", "frames", "batch", "audio, s", "median, s", "s per s of audio")


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(value: Spread) -> str:
    return f"{number(value.median)} ({number(value.min)} to {number(value.max)})"


def as_text(bench: Bench) -> str:
    """The contenders, the tables and the machine."""
    parts = [lines(bench), aligned(columns(bench), rows(bench))]
    parts += [f"{each.name} not run: {each.not_run}" for each in bench.outcomes if each.not_run]
    staged = stage_rows(bench)
    if staged:
        parts.append("seconds from a sound file to its stems\n" + aligned(("engine", *STAGES), staged))
    limits = product_rows(bench)
    if limits:
        parts.append(aligned(PRODUCT_COLUMNS, limits))
    parts += [f"matrix products of {name}: not measured: {reason}" for name, reason in unmeasured(bench)]
    swept = sweep_rows(bench)
    if swept:
        parts.append(aligned(SWEEP_COLUMNS, swept))
    parts.append("\n".join(f"{name}: {value}" for name, value in machine_rows(bench.machine)))
    return "\n\n".join(parts)


def lines(bench: Bench) -> str:
    """One line per contender: what it is."""
    return "\n".join(
        f"{each.name}: {each.precision}, {each.executor or 'not run'}, {work_of(each)}" for each in bench.outcomes
    )


def work_of(outcome: Outcome) -> str:
    work = outcome.work
    chunks = "1 chunk" if work.batch == 1 else f"{work.batch} chunks"
    form = " as waveforms" if work.io == "wave" else ""
    return f"{chunks} of {work.frames} frames ({number(work.seconds)} s of audio){form}"


def columns(bench: Bench) -> tuple[str, ...]:
    """The columns; the GPU's only if a contender used one."""
    return COLUMNS if _gpu(bench) else tuple(each for each in COLUMNS if not each.startswith("GPU"))


def _gpu(bench: Bench) -> bool:
    return any(each.gpu_memory is not None for each in bench.outcomes)


def rows(bench: Bench) -> list[list[str]]:
    shown = []
    for each in bench.run:
        ratio = "1" if each is bench.first else spread(bench.ratio(each))
        seconds = [each.cold_start, each.run_seconds[0], each.third, each.seconds, each.p95, each.times_real_time]
        memory = [_megabytes(each.peak_memory)] + ([_megabytes(each.gpu_memory)] if _gpu(bench) else [])
        shown.append([each.name, *map(number, seconds), *memory, ratio])
    return shown


def _megabytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:.0f}"


def stage_rows(bench: Bench) -> list[list[str]]:
    return [[each.name, *(number(each.stage_seconds[s]) for s in STAGES)] for each in bench.run if each.stage_seconds]


def product_rows(bench: Bench) -> list[list[str]]:
    shown = []
    for each in bench.run:
        times = each.times_products()
        if isinstance(each.products, Products) and times is not None:
            flops, seconds = each.products.flops / 1e9, each.products.seconds
            shown.append([each.name, number(seconds), number(flops), number(flops / seconds), spread(times)])
    return shown


def unmeasured(bench: Bench) -> Iterator[tuple[str, str]]:
    """Engines whose products could not be measured, and why."""
    for each in bench.run:
        if isinstance(each.products, str):
            yield each.name, each.products


def sweep_rows(bench: Bench) -> list[list[str]]:
    if not any(each.sweep for each in bench.run):
        return []
    return [[each.name, *_point(point)] for each in bench.run for point in in_order(each.points)]


def in_order(points: list[Point]) -> list[Point]:
    return sorted(points, key=lambda point: (point.work.frames, point.work.batch))


def _point(point: Point) -> list[str]:
    work = point.work
    return [
        str(work.frames),
        str(work.batch),
        number(work.seconds),
        number(point.cost * work.seconds),
        number(point.cost),
    ]


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    cores = f"{machine.cores} cores"
    if machine.usable_cores != machine.cores:
        cores += f", {machine.usable_cores} of them for this process"
    if machine.memory_bytes is not None:
        cores += f", {machine.memory_bytes / 1e9:.1f} GB of memory"
    if machine.load_average is not None:
        cores += f", load average {machine.load_average:.1f} before"
    versions = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return [
        ("CPU", f"{machine.cpu}, {cores}"),
        ("GPU", machine.gpu or "none"),
        ("system", machine.system),
        ("software", f"Python {machine.python}, {versions}"),
    ]


def aligned(header: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first left-aligned, the others right-aligned."""
    every = [list(header), *map(list, table)]
    widths = [max(len(line[i]) for line in every) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in every
    )
