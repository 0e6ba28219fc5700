"""`--ckpt NAME`: a checkpoint of the catalogue by its name, fetched if it is not there yet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from bsmamba2.catalogue.entries import entry_named, find
from bsmamba2.errors import CheckpointError
from runtime.errors import OptionError
from runtime.printable import printable

OF_FILES = {".ckpt", ".pt", ".pth", ".th", ".safetensors", ".bin", ".chpt"}
STEP = 10  # percent between two lines, where there is no terminal


def checkpoint_of(ckpt: str, offline: bool, report: Callable[[str], None]) -> Path:
    """The file that `ckpt` means: a path as it is, a name of the catalogue as a file in the cache.

    A file of that path comes first. What is no name, and the names of checkpoints in the package, are returned as they
    are. `report` gets lines about a download: where from, its licence. Raises CheckpointError for unknown and refused
    names, DownloadError, and OptionError if a package is missing.
    """
    path = Path(ckpt)
    if path.is_file() or "/" in ckpt or "\\" in ckpt or path.suffix.lower() in OF_FILES:
        return path
    entry = find(ckpt)
    if entry is None:
        if path.exists() or _is_shipped(ckpt):
            return path
        entry = entry_named(ckpt)
    if entry.refused is not None:
        raise CheckpointError(f"{ckpt}: cannot be exported: it has {entry.refused}: choose another (bsm-export --list)")
    try:
        from bsmamba2.catalogue.download import fetch
    except ImportError as error:
        raise OptionError(f"{ckpt}: {error.name} is not installed: pip install 'bsmamba2[export]'") from error
    with _progress(ckpt, report) as progress:
        return fetch(entry, offline=offline, tell=report, progress=progress)


def on_stderr(command: str) -> Callable[[str], None]:
    """A `report` for `checkpoint_of` that prints lines as `command` does its errors."""
    return lambda text: print(f"{command}: {printable(text)}", file=sys.stderr, flush=True)


def _is_shipped(name: str) -> bool:
    from bsmamba2.checkpoint.load import SHIPPED  # imports PyTorch

    return name in SHIPPED


@contextmanager
def _progress(name: str, report: Callable[[str], None]) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how far a download is: a bar on a terminal, otherwise a line now and then."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None, visible=False)
        shown = 0

        def progress(received: int, total: int) -> None:
            nonlocal shown
            bar.update(task, completed=received, total=total, visible=True)
            percent = 100 * received // max(total, 1)
            if not console.is_terminal and percent >= shown + STEP:
                shown = percent - percent % STEP
                report(f"{name}: {shown} % of {total / 1e6:.0f} MB")

        yield progress
