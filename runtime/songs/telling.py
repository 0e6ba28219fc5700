"""What `bsm-run` prints about songs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.printable import counted, printable
from runtime.songs.batch import Outcome
from runtime.songs.inputs import shown
from runtime.songs.progress import duration, pace


def outcome_lines(outcome: Outcome, name: str, folder: Path | None = None) -> list[str]:
    """What was done with the song of this name; paths inside `folder` are shown relative to it."""
    name = printable(name)
    if not outcome.written:
        return [f"{name}: skipped, its stems exist"]
    report = outcome.report
    lines = []
    if report is None:
        lines.append(f"{name}: picture drawn, its stems exist")
    else:
        lines.append(f"{name}: {work(report.seconds, report.wall, 'separated in')}")
        for stem, path in report.written.items():
            cut = report.clipped[stem]
            note = f"  ({counted(cut, 'sample')} clipped; --clip rescale or --subtype FLOAT avoids it)" if cut else ""
            lines.append(f"  {printable(near(path, folder))}{note}")
        lines += [f"  note: {printable(each)}" for each in report.notes]
        if report.gain != 1.0:
            lines.append(f"  all stems turned down to {report.gain:.3g} of their level so that none clips (see --clip)")
    if outcome.plot is not None and outcome.plot in outcome.written:
        lines.append(f"  {printable(near(outcome.plot, folder))}")
    return lines


def summary(done: Sequence[Outcome], failures: int, took: float | None = None) -> str:
    """`took`: seconds for all of them, None: the sum of each."""
    separated = [outcome for outcome in done if outcome.written]
    reports = [outcome.report for outcome in done if outcome.report is not None]
    seconds = sum(report.seconds for report in reports)
    took = sum(report.wall for report in reports) if took is None else took
    counts = f"{len(separated)} separated, {len(done) - len(separated)} skipped, {failures} failed"
    return f"{len(done) + failures} songs: {counts}" + (f"; {work(seconds, took, 'of audio in')}" if reports else "")


def work(seconds: float, took: float, joined: str) -> str:
    """Such as "10.0 s separated in 5.6 s (1.8x real time)"."""
    return f"{duration(seconds)} {joined} {duration(took)} ({pace(seconds, took)})"


def near(path: Path, folder: Path | None) -> str:
    """`path` relative to `folder` if it is inside of it."""
    return os.path.relpath(path, folder) if folder is not None and path.is_relative_to(folder) else shown(path)


def say(text: str) -> None:
    """One line about the run, on standard error."""
    print(f"bsm-run: {printable(text)}", file=sys.stderr)
