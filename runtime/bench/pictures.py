"""The plots of a measurement's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.bench.results import Bench, Outcome, Point, Products
from runtime.pictures.page import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENGINE, OTHER, LIMIT = "#2f6fbb", "#b0b7bf", "#cf222e"


def bars(bench: Bench) -> Figure:
    """Seconds per run of each contender, with the range over the rounds, and its matrix products as a line.

    Contenders with chunks of different lengths are shown per second of audio. Raises OptionError without matplotlib.
    """
    alike = len({each.work.seconds for each in bench.run}) == 1
    figure = new_figure(9, 1.1 + 0.5 * len(bench.run))
    axes = figure.subplots()
    for row, each in enumerate(bench.run):
        unit = 1.0 if alike else each.work.seconds
        middle, runs = each.seconds / unit, [seconds / unit for seconds in each.measured]
        axes.barh(row, middle, height=0.6, color=ENGINE if each.kind == "engine" else OTHER)
        axes.plot([min(runs), max(runs)], [row, row], color="black", linewidth=1.2)
        axes.annotate(f"{middle:.3g} s", (max(runs), row), (5, 0), textcoords="offset points", va="center")
        if isinstance(each.products, Products):
            limit = each.products.seconds / unit
            axes.plot([limit, limit], [row - 0.42, row + 0.42], color=LIMIT, linewidth=2.5, label="matrix products")
    axes.set_yticks(range(len(bench.run)), [each.name for each in bench.run])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.margins(x=0.15)
    axes.set_xlabel("seconds per run (median)" if alike else "seconds per second of audio (median)")
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles[:1], labels[:1], loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    _open_frame(axes)
    return figure


def by_length(bench: Bench) -> list[tuple[str, list[Point]]]:
    """Cost by length: each contender's points at its own batch size; engines of one length each form one series."""
    found = [(each.name, [point for point in each.points if point.work.batch == each.work.batch]) for each in bench.run]
    shown = [(name, points) for name, points in found if len(points) > 1]
    single = [points[0] for (_, points), each in zip(found, bench.run, strict=True) if _is_single(each, points)]
    if len({point.work.frames for point in single}) > 1:
        shown.insert(0, ("engines, each at its own length", single))
    return shown


def _is_single(outcome: Outcome, points: list[Point]) -> bool:
    return outcome.kind == "engine" and len(points) == 1


def by_batch(bench: Bench) -> list[tuple[str, list[Point]]]:
    """Cost by batch size: each contender's points at its own length."""
    found = [
        (each.name, [point for point in each.points if point.work.frames == each.work.frames]) for each in bench.run
    ]
    return [(name, points) for name, points in found if len(points) > 1]


def cost(series: list[tuple[str, list[Point]]], axis: str) -> Figure:
    """Seconds per second of audio by "frames" or "batch", and the line of proportional growth from the smallest work.

    Raises OptionError without matplotlib.
    """
    figure = new_figure(9, 3.6)
    axes = figure.subplots()
    sizes = set()
    for name, unsorted in series:
        points = sorted(unsorted, key=lambda point: getattr(point.work, axis))
        x = [getattr(point.work, axis) for point in points]
        sizes |= set(x)
        (line,) = axes.plot(x, [point.cost for point in points], marker="o", label=name)
        axes.plot([x[0], x[-1]], [points[0].cost] * 2, linestyle="--", linewidth=1, color=line.get_color())
    axes.plot([], [], linestyle="--", linewidth=1, color="black", label="proportional")
    axes.set_xticks(sorted(sizes))
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.set_xlabel("frames per chunk" if axis == "frames" else "chunks per run")
    axes.set_ylabel("seconds per second of audio")
    axes.legend(frameon=False)
    _open_frame(axes)
    return figure


def _open_frame(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
