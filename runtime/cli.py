"""`bsm-run`: songs in, stems out."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from runtime.audio import SUBTYPES, read_song, write_wav
from runtime.backends import DEVICES
from runtime.command import printable, run_command
from runtime.errors import AudioError, OptionError, SeparationError
from runtime.separator import DEFAULT_OVERLAP, Separator, open_separator

app = typer.Typer(add_completion=False)
Subtype = Enum("Subtype", {name: name for name in SUBTYPES}, type=str)  # type: ignore[misc]


@app.command()
def run(
    engine: Annotated[Path, typer.Argument(help="NAME.onnx or NAME.plan, written by bsm-export, NAME.json beside it.")],
    songs: Annotated[list[Path], typer.Argument(metavar="SONG...", help="WAV, FLAC, OGG or MP3 files.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the stems.")] = Path(
        "separated"
    ),
    overlap: Annotated[
        float, typer.Option(help="Part of a chunk shared with the next, 0 to 0.9. 0 is the official procedure.")
    ] = DEFAULT_OVERLAP,
    stems: Annotated[
        str | None, typer.Option(help="Stems to write, as vocals,instrumental.", show_default="all the engine gives")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Chunks given to the engine at a time.", show_default="what it was made for")
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="|".join(DEVICES), help="Where it runs; auto takes what is installed and starts.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", show_default="one a core")] = None,
    subtype: Annotated[Subtype, typer.Option(help="Sample format of the WAV files.")] = Subtype.FLOAT,  # type: ignore[attr-defined]
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace stems that exist.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> int:
    """Separate each SONG with ENGINE into DIR/<song>_<stem>.wav, at the song's own rate, channels and length."""
    start = time.perf_counter()
    with closing(open_separator(engine, overlap=overlap, batch=batch, threads=threads, device=device)) as separator:
        separator.times.seconds["open"] = time.perf_counter() - start
        notes = _print_notes(separator, 0)
        wanted = [stem.strip() for stem in stems.split(",")] if stems is not None else separator.stems
        if not set(wanted) <= set(separator.stems):
            raise OptionError(f"--stems {stems}: this engine gives {', '.join(separator.stems)}")
        targets = plan_outputs(songs, output, wanted, overwrite)
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioError(f"{output}: cannot be made a folder ({error.strerror})") from error

        failures = 0
        for song in songs:
            try:
                _separate(separator, song, targets[song], subtype.value)
            except SeparationError as error:
                if len(songs) == 1 or debug:
                    raise
                failures += 1
                print(f"bsm-run: {printable(str(error))}", file=sys.stderr)
        if failures:
            print(f"bsm-run: {failures} of {len(songs)} songs failed", file=sys.stderr)
        _print_notes(separator, notes)
        _report_times(separator, time.perf_counter() - start)
    return 2 if failures else 0


def _print_notes(separator: Separator, printed: int) -> int:
    """Print what the backend noted after the first `printed` notes; returns how many there are."""
    for note in separator.backend.notes[printed:]:
        print(f"bsm-run: {printable(note)}", file=sys.stderr)
    return len(separator.backend.notes)


def plan_outputs(songs: list[Path], folder: Path, stems: list[str], overwrite: bool) -> dict[Path, dict[str, Path]]:
    """Where each song's stems go. Raises OptionError if two songs would share a file or one exists already."""
    taken: dict[Path, Path] = {}
    given = {song.resolve() for song in songs}
    targets: dict[Path, dict[str, Path]] = {}
    for song in songs:
        targets[song] = {stem: folder / f"{song.stem}_{stem}.wav" for stem in stems}
        for path in targets[song].values():
            if path in taken:
                raise OptionError(f"{taken[path]} and {song} would both be written to {path}: separate them apart")
            if path.resolve() in given:
                raise OptionError(f"{path} is one of the songs: choose another folder with -o")
            if os.path.lexists(path) and not overwrite:
                raise OptionError(f"{path} exists: choose another folder with -o, or give --overwrite")
            taken[path] = song
    return targets


def _separate(separator: Separator, path: Path, targets: dict[str, Path], subtype: str) -> None:
    start = time.perf_counter()
    with separator.times.stage("read"):
        song = read_song(path)
    if song.audio.shape[0] > 2:
        raise AudioError(f"{path}: {song.audio.shape[0]} channels: expected mono or stereo, mix it down first")
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(printable(path.name), total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        stems = separator.separate(song.audio, song.sample_rate, stems=list(targets), progress=progress)
    clipped = {}
    with separator.times.stage("write"):
        for stem, target in targets.items():
            clipped[stem] = write_wav(target, stems[stem], song.sample_rate, subtype)
    seconds, length = time.perf_counter() - start, song.audio.shape[1] / song.sample_rate
    print(
        f"{printable(str(path))}: {length:.1f} s separated in {seconds:.1f} s ({length / seconds:.2g} times real time)"
    )
    for stem, target in targets.items():
        note = f"  ({clipped[stem]} samples clipped: --subtype FLOAT keeps them)" if clipped[stem] else ""
        print(f"  {printable(str(target))}{note}")


def _report_times(separator: Separator, total: float) -> None:
    stages = separator.times.seconds
    named = ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages.items())
    share = 100 * stages.get("engine", 0.0) / total
    print(f"{separator.backend.name}: {share:.1f}% of {total:.1f} s in the engine (seconds: {named})")


def main() -> None:
    run_command(app, "bsm-run")


if __name__ == "__main__":
    main()
