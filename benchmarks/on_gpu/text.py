"""Results as lines for a terminal, and the cells that the page has too."""

from __future__ import annotations

from typing import Any

COLUMNS = (
    *("batch", "latency, ms", "min to max", "GPU, ms", "queued, ms", "x real time", "memory, GB", "error", "SNR, dB"),
    "% of limit",
)
SCAN_COLUMNS = ("along", "sequences", "ms", "min to max", "error", "reversed", "TFLOP/s", "GB/s", "% of limit")
NAME = 42  # characters


def number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def milliseconds(spread: dict[str, Any] | None) -> str:
    return "-" if not spread else number(1000 * spread["median"])


def extent(spread: dict[str, Any]) -> str:
    return f"{number(1000 * spread['min'])} to {number(1000 * spread['max'])}"


def percent(shares: dict[str, float | None]) -> str:
    """Of the published limit, else of the measured one."""
    share = shares.get("published")
    share = shares.get("measured") if share is None else share
    return "-" if share is None else number(100 * share)


def snr(parity: dict[str, Any] | None) -> str:
    if parity is None:
        return "-"
    return "equal" if parity["snr_db"] is None else number(parity["snr_db"])


def cells(point: dict[str, Any]) -> list[str]:
    """Of a batch size that was measured."""
    parity, memory = point["parity"], point.get("memory_bytes")
    return [
        str(point["batch"]),
        milliseconds(point["latency"]),
        extent(point["latency"]),
        milliseconds(point["gpu_seconds"]),
        milliseconds(point["queued_seconds"]),
        number(point["times_real_time"]),
        "-" if memory is None else f"{memory / 1e9:.2f}",
        "-" if parity is None else f"{parity['max_error']:.1e}",
        snr(parity),
        percent(point["share_of_limit"]),
    ]


def scan_cells(scan: dict[str, Any]) -> list[str]:
    seconds = scan["seconds"]["median"]
    return [
        scan["axis"],
        f"{scan['sequences']} of {scan['length']}",
        milliseconds(scan["seconds"]),
        extent(scan["seconds"]),
        f"{scan['forward_error']:.1e}",
        f"{scan['reverse_error']:.1e}",
        number(scan["flops"] / seconds / 1e12),
        number(scan["bytes"] / seconds / 1e9),
        percent(scan["share_of_limit"]),
    ]


def line(name: str, row: list[str] | tuple[str, ...]) -> str:
    """Each cell a bit wider than its heading."""
    return name.ljust(NAME) + "".join(cell.rjust(len(heading) + 3) for cell, heading in zip(row, COLUMNS, strict=True))


def new_lines(record: dict[str, Any], shown: int) -> list[str]:
    """The rows of a record from number `shown` on."""
    lines = []
    for point in record["points"]:
        if point["not_run"]:
            lines.append(f"{record['name'].ljust(NAME)}batch {point['batch']}: {point['not_run']}")
        else:
            lines.append(line(record["name"], cells(point)))
    for each in record["scans"]:
        named = zip(SCAN_COLUMNS, scan_cells(each), strict=True)
        lines.append(f"{record['name'].ljust(NAME)}{', '.join(f'{name} {cell}' for name, cell in named)}")
    return lines[shown:]
