"""The results as one HTML file, which needs nothing but a browser, and no package to write."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from on_gpu.limits import PUBLISHED
from on_gpu.results import Results, seconds_of, state
from on_gpu.text import COLUMNS, SCAN_COLUMNS, cells, milliseconds, number, scan_cells

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .8rem 0; }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid #8c959f; vertical-align: bottom; } td { border-bottom: 1px solid #d8dee4; }
th:first-child, td:first-child, .text { text-align: left; } td:not(.text) { white-space: nowrap; }
.note { color: #57606a; font-size: .9rem; }
.bad { color: #b42318; font-weight: 600; } .bar { background: #2f6fbb; height: .8rem; display: inline-block; }
.bars { width: 100%; } .bars td { border: 0; padding: .1rem .5rem; white-space: nowrap; }
.bars td:last-child { width: 75%; text-align: left; }
.limit { background: #cf222e; height: .8rem; width: 3px; display: inline-block; position: absolute; left: 0; }
.track { position: relative; display: block; }
"""
WRONG = ": wrong"  # beyond its tolerance
MEANING = {
    "cold start, s": "from the start of the process to its first stems, in the host's memory.",
    "open, s": "the part of it until the network is ready.",
    "latency, ms": "median from a mixture in the host's memory to its stems there, one batch after the other.",
    "GPU, ms": "median on the GPU alone, from GPU memory to GPU memory, by CUDA events.",
    "queued, ms": "median of a batch while two are under way, as in bsm-run: copies in the host overlap the network.",
    "x real time": "seconds of music processed per second of latency.",
    "memory, GB": "GPU memory that it has taken by then, without CUDA's own.",
    "error": "the largest difference from PyTorch in float32, relative to the peak of the stems, of the worst item. "
    "Red: beyond the tolerance of its precision.",
    "SNR, dB": "of the worst item, against PyTorch in float32. All items of a batch are different music.",
    "% of limit": "the limit of this GPU (below) divided by the time on the GPU, else queued, else the latency.",
}


def as_html(results: Results) -> str:
    title = f"{results.work.kind} {'without a GPU' if results.machine.gpu is None else 'on ' + results.machine.gpu}"
    parts = [*_summary(results), *_networks(results), *_scans(results), *_not_run(results), *_needs(results)]
    parts += [*_machine(results)]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
    body = "\n".join([f"<h1>{_text(title)}</h1>", *parts])
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{_text(text)}</p>' if kind else f"<p>{_text(text)}</p>"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]], text: Sequence[int] = (), bad: str = "") -> str:
    """Columns in `text` and the first are left-aligned. A row whose first cell ends with `bad` is marked."""

    def cell(kind: str, i: int, value: object, is_bad: bool = False) -> str:
        words = " ".join([*(["text"] if i in text else []), *(["bad"] if is_bad else [])])
        return f'<{kind} class="{words}">{_text(value)}</{kind}>' if words else f"<{kind}>{_text(value)}</{kind}>"

    lines = ["<tr>" + "".join(cell("th", i, each) for i, each in enumerate(header)) + "</tr>"]
    for row in rows:
        marked = bool(bad) and str(row[0]).endswith(bad)
        lines.append("<tr>" + "".join(cell("td", i, each, marked) for i, each in enumerate(row)) + "</tr>")
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def _summary(results: Results) -> list[str]:
    work = results.work
    states = [state(each) for each in results.contenders]
    counts = ", ".join(f"{states.count(each)} {each}" for each in ("done", "wrong", "failed", "not run"))
    sizes = "".join(f", {name} {value}" for name, value in work.sizes.items())
    said = [
        f"The network {work.kind} ({'published sizes' if not sizes else 'published sizes but' + sizes[1:]}), weights "
        f"from a seed, chunks of {work.frames} frames ({number(work.seconds)} s of music). {len(states)} ways to run "
        f"it or its scan: {counts}. {results.created}."
    ]
    if work.device == "cpu":
        said.append("A rehearsal on a CPU, to check the program: the times mean nothing.")
    elif results.machine.gpu is None:
        said.append(f"Nothing was measured: {results.machine.why_no_gpu}.")
    best = _best(results)
    if best:
        name, point = best
        said.append(
            f"The lowest latency of a batch of {point['batch']}: {name}, {milliseconds(point['latency'])} ms, "
            f"{number(point['times_real_time'])} times real time."
        )
    if results.drift:
        ratio = results.drift["last"] / results.drift["first"]
        said.append(f"{results.drift['name']}, measured again at the end, took {ratio:.2f} times as long as before.")
    return [_paragraph(each) for each in said]


def _best(results: Results) -> tuple[str, dict[str, Any]] | None:
    """The fastest right one at the smallest batch."""
    found = [
        (each["name"], point)
        for each in results.contenders
        for point in each["points"]
        if not point["not_run"] and state(each) == "done" and point["batch"] == min(results.work.batches)
    ]
    return min(found, key=lambda pair: pair[1]["latency"]["median"], default=None)


def _networks(results: Results) -> list[str]:
    rows, starts = [], []
    for each in results.contenders:
        mark = WRONG if state(each) == "wrong" else ""
        for point in each["points"]:
            if point["not_run"]:
                rows.append([each["name"] + mark, str(point["batch"]), "out of memory", *["-"] * (len(COLUMNS) - 2)])
            else:
                rows.append([each["name"] + mark, *cells(point)])
        if "cold_start_seconds" in each:
            made = ", ".join(f"{name} {number(seconds)} s" for name, seconds in each["step_seconds"].items())
            start, opened = number(each["cold_start_seconds"]), number(each.get("open_seconds"))
            notes = "; ".join(each.get("notes", [])) or "-"
            starts.append([each["name"], start, opened, made or "-", each.get("executor", "-"), notes])
    if not rows:
        return []
    return [
        "<h2>The network</h2>",
        *_bars(results),
        _table(("contender", *COLUMNS), rows, bad=WRONG),
        "<h2>Start</h2>",
        _table(("contender", "cold start, s", "open, s", "made before", "run by", "notes"), starts, (3, 4, 5)),
        "<h2>The columns</h2>",
        _table(("column", "meaning"), MEANING.items(), (1,)),
    ]


def _bars(results: Results) -> list[str]:
    """Time at the smallest batch, and the limit as a red line."""
    batch = min(results.work.batches)
    found = [
        (each["name"], seconds_of(point), point["limit_seconds"])
        for each in results.contenders
        for point in each["points"]
        if not point["not_run"] and point["batch"] == batch
    ]
    if not found:
        return []
    longest = max(seconds for _, seconds, _ in found)
    lines = []
    for name, seconds, limits in found:
        least = limits.get("published") or limits.get("measured")
        mark = "" if not least else f'<span class="limit" style="left:{85 * least / longest:.2f}%"></span>'
        bar = f'<span class="bar" style="width:{85 * seconds / longest:.2f}%"></span>'
        shown = f'<span class="track">{bar}{mark} {number(1000 * seconds)} ms</span>'
        lines.append(f"<tr><td>{_text(name)}</td><td>{shown}</td></tr>")
    caption = (
        f"Time of a batch of {batch}: on the GPU alone where it is known, else queued, else latency. Red: the limit."
    )
    return [f'<table class="bars">{"".join(lines)}</table>', _paragraph(caption, "note")]


def _scans(results: Results) -> list[str]:
    rows = [
        [each["name"] + (WRONG if state(each) == "wrong" else ""), *scan_cells(scan)]
        for each in results.contenders
        for scan in each["scans"]
    ]
    if not rows:
        return []
    note = (
        "One direction with D, on the sequences of one chunk of music. Error: against the recurrence in float64 on two "
        "of the sequences, relative to its peak; reversed: the same from the last position to the first."
    )
    table = _table(("scan", *SCAN_COLUMNS), rows, (1,), bad=WRONG)
    return ["<h2>The scan alone</h2>", table, _paragraph(note, "note")]


def _not_run(results: Results) -> list[str]:
    """Each reason, with all that were not run for it."""
    reasons: dict[str, list[str]] = {}
    for each in results.contenders:
        why = f"failed: {each['failed']}" if each["failed"] else each["not_run"]
        if why:
            reasons.setdefault(why, []).append(each["name"])
        for point in each["points"]:
            if point["not_run"]:
                reasons.setdefault(point["not_run"], []).append(f"{each['name']}, batch {point['batch']}")
    rows = [("; ".join(names), why) for why, names in reasons.items()]
    return ["<h2>Not run</h2>", _table(("contender", "why"), rows, (0, 1))] if rows else []


def _needs(results: Results) -> list[str]:
    """The work of the network, and the least time for it on GPUs whose limits are known."""
    first = [each for each in results.totals() if each["batch"] == min(results.work.batches)]
    if not first:
        return []
    work = ", ".join(f"{each['bytes'] / 1e9:.2f} GB in {each['precision']}" for each in first)
    known = {name: limits for name, limits in results.limits().items() if limits is not None}
    named = {f"{results.machine.gpu}, {name}": limits for name, limits in known.items()} | PUBLISHED
    rows = []
    for name, limits in named.items():
        least = [
            limits.seconds(results.parts_of(each["precision"], each["batch"]), each["precision"]) for each in first
        ]
        rates = [number(limits.flops_per_second.get(each["precision"], 0) / 1e12 or None) for each in first]
        times = ["-" if each is None else number(1000 * each) for each in least]
        rows.append([name, number(limits.bytes_per_second / 1e12), *rates, *times, limits.source])
    precisions = [each["precision"] for each in first]
    header = [
        "GPU",
        "TB/s",
        *(f"TFLOP/s, {each}" for each in precisions),
        *(f"limit, ms, {each}" for each in precisions),
    ]
    return [
        "<h2>The limit</h2>",
        _paragraph(
            f"A batch of {first[0]['batch']} needs {first[0]['flops'] / 1e9:.0f} GFLOP in products, and an ideal pass "
            f"moves {work}: every product reads its operands and writes its result once, so do the scan and attention, "
            "and all else is done in passing. The limit is the sum over the products of what takes longer: the "
            "arithmetic or the bytes. A pass that fuses more can be below it."
        ),
        _table((*header, "source"), rows, (len(header),)),
    ]


def _machine(results: Results) -> list[str]:
    machine = results.machine
    capability = "-" if machine.capability is None else ".".join(map(str, machine.capability))
    memory = "-" if machine.memory is None else f"{machine.memory / 1e9:.1f} GB"
    rows = [
        ("GPU", machine.gpu or f"none: {machine.why_no_gpu}"),
        ("compute capability, memory", f"{capability}, {memory}"),
        ("driver", f"for CUDA {machine.driver_cuda}" if machine.driver_cuda else "-"),
        ("CPU", f"{machine.cpu}, {machine.cores} cores"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine.modules.items())),
        ("command", results.command),
    ]
    if results.chip:
        chip = results.chip
        products = ", ".join(
            f"{rate / 1e12:.0f} TFLOP/s in {name}" for name, rate in chip.get("flops_per_second", {}).items()
        )
        copies = (
            f"{chip['bytes_per_second'] / 1e12:.2f} TB/s in its memory, "
            f"{chip['to_gpu_bytes_per_second'] / 1e9:.1f} GB/s from the host, "
            f"{chip['to_host_bytes_per_second'] / 1e9:.1f} GB/s to it; products: {products or '-'}"
        )
        rows.insert(3, ("measured alone", copies))
    reference = results.reference
    if reference:
        why = reference.get("failed") or reference.get("not_run")
        rows.append(
            ("compared with", f"nothing: {why}" if why else f"{reference['executor']}, float32, chunk by chunk")
        )
    return ["<h2>The machine</h2>", _table(("part", "details"), rows, (1,))]
