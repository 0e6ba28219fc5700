"""`bsm-export --list`: the names of the catalogue and what is known of each."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from bsmamba2.catalogue.entries import Entry, entries
from runtime.errors import OptionError
from runtime.printable import counted

WIDE = 160  # columns that the longest line takes, nearly
NARROWEST = 80  # columns: names are never cut; a narrower terminal breaks lines itself
PIPED = 250  # columns: a line per model, for grep


def print_list(word: str) -> None:
    """Print the models that have `word` in their names, stems, kinds or notes; all for "". Raises OptionError."""
    found = [entry for entry in entries() if word.lower() in _text(entry).lower()]
    if not found:
        raise OptionError(f"--list {word}: no model has this in its name, stems, kind or note: --list shows all")
    terminal = Console().width if sys.stdout.isatty() else PIPED
    console = Console(width=max(terminal, NARROWEST), markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("name", no_wrap=True, min_width=max(len(entry.name) for entry in found))
    table.add_column("MB", justify="right", no_wrap=True)
    for title in ("stems", "licence", "note") if terminal >= WIDE else ("stems; licence; note",):
        table.add_column(title, overflow="fold")
    for entry in found:
        note = entry.note if entry.refused is None else f"refused: {entry.refused}"
        about = [", ".join(entry.stems), entry.licence, note]
        if terminal < WIDE:
            about[1] = "no licence stated" if entry.licence == "none stated" else entry.licence
            about = ["; ".join(part for part in about if part)]
        table.add_row(entry.name, f"{entry.bytes / 1e6:.0f}", *about)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
    print(f"{counted(len(found), 'model')}; bsm-export --ckpt NAME downloads and exports one")


def _text(entry: Entry) -> str:
    return " ".join((entry.name, ", ".join(entry.stems), entry.kind, entry.note, entry.refused or ""))
