"""`bsm-run`: songs in, stems out."""

from __future__ import annotations

import sys
import time
import traceback
from contextlib import ExitStack, closing
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from runtime.audio import CLIP, FORMATS, SUBTYPES
from runtime.backends import DEVICES
from runtime.command import Version, run_command
from runtime.engine.info import describe_engine
from runtime.errors import OptionError, SeparationError
from runtime.printable import printable
from runtime.separation.separator import DEFAULT_OVERLAP, Separator, open_separator
from runtime.songs.batch import Batch, Outcome, Settings
from runtime.songs.inputs import SUFFIXES, find_songs
from runtime.songs.journal import Journal
from runtime.songs.names import name_songs
from runtime.songs.separate import CHANNELS

app = typer.Typer(add_completion=False)
Format = Enum("Format", {name: name.lower() for name in FORMATS}, type=str)  # type: ignore[misc]
Subtype = Enum("Subtype", {name: name for name in SUBTYPES}, type=str)  # type: ignore[misc]
Clip = Enum("Clip", {name: name for name in CLIP}, type=str)  # type: ignore[misc]
Channels = Enum("Channels", {name: name for name in CHANNELS}, type=str)  # type: ignore[misc]


@app.command()
def run(
    engine: Annotated[
        Path,
        typer.Argument(metavar="ENGINE", help="NAME.onnx or NAME.plan, written by bsm-export, NAME.json beside it."),
    ],
    songs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SONG", help="Sound files, or folders of them.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the stems.")] = Path(
        "separated"
    ),
    recursive: Annotated[
        bool, typer.Option("-r", "--recursive", help="Look into subfolders, and keep them in DIR.")
    ] = False,
    stems: Annotated[
        str | None, typer.Option(help="Stems to write, as vocals,instrumental.", show_default="all the engine gives")
    ] = None,
    format: Annotated[  # noqa: A002
        Format | None, typer.Option(case_sensitive=False, help="Of the stems.", show_default="the song's, else wav")
    ] = None,
    subtype: Annotated[
        Subtype | None,
        typer.Option(case_sensitive=False, help="Sample type of the stems.", show_default="the song's, else FLOAT"),
    ] = None,
    clip: Annotated[
        Clip, typer.Option(help="Samples beyond full scale: turn all stems down alike, cut them, or do nothing.")
    ] = Clip.rescale,  # type: ignore[attr-defined]
    channels: Annotated[
        Channels, typer.Option(help="Songs of more than 2 channels: refuse, or separate them two by two.")
    ] = Channels.ask,  # type: ignore[attr-defined]
    plot: Annotated[bool, typer.Option("--plot", help="Draw each song and its stems: DIR/SONG.png.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave alone what exists, make the rest.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace stems that exist.")] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Add a line of JSON for each song: what was done.", show_default=False),
    ] = None,
    overlap: Annotated[
        float, typer.Option(help="Part of a chunk shared with the next, 0 to 0.9. 0 is the official procedure.")
    ] = DEFAULT_OVERLAP,
    tta: Annotated[
        bool, typer.Option("--tta", help="Take the mean with what comes of swapped channels: twice the time.")
    ] = False,
    shifts: Annotated[
        int, typer.Option(metavar="N", help="Take the mean over N positions within a hop: N times the time.")
    ] = 1,
    batch: Annotated[
        int | None, typer.Option(help="Chunks given to the engine at a time.", show_default="what it was made for")
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="|".join(DEVICES), help="Where it runs; auto takes what is installed and starts.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", show_default="one a core")] = None,
    info: Annotated[bool, typer.Option("--info", help="Say what ENGINE is, and do nothing.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    version: Version = False,
) -> int:
    """Separate each SONG with ENGINE into DIR/SONG_<stem>, in the song's own format, rate, channels and length."""
    if engine.suffix.lower() in SUFFIXES:
        raise OptionError(f"{engine}: named like a song: expected the engine first, NAME.onnx or NAME.plan, then songs")
    if info:
        if songs:
            raise OptionError(f"--info says what {engine} is: leave out {songs[0]}")
        print("\n".join(map(printable, describe_engine(engine).split("\n"))))
        return 0
    if not songs:
        raise OptionError("no songs: give sound files or folders after the engine")
    if skip_existing and overwrite:
        raise OptionError("--skip-existing and --overwrite: give one of them")
    start = time.perf_counter()
    found = find_songs(songs, recursive, output)
    for line in found.unreadable:
        print(f"bsm-run: {printable(line)}", file=sys.stderr)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(manifest)) if manifest is not None else None
        separator = stack.enter_context(
            closing(
                open_separator(
                    engine, overlap=overlap, batch=batch, threads=threads, device=device, tta=tta, shifts=shifts
                )
            )
        )
        separator.times.seconds["open"] = time.perf_counter() - start
        notes = _print_notes(separator, 0)
        named = name_songs(found.songs, output, separator.stems)
        if left_out := len(found.songs) - len(named):
            stems_found = f"{left_out} stem{'s' * (left_out > 1)} of other songs"
            print(f"bsm-run: skipping {stems_found} (give a file by name to separate it)", file=sys.stderr)
        wanted = separator.stems if stems is None else list(dict.fromkeys(stem.strip() for stem in stems.split(",")))
        settings = Settings(
            folder=output,
            stems=wanted,
            format=format and format.value,
            subtype=subtype and subtype.value,
            clip=clip.value,
            channels=channels.value,
            existing="skip" if skip_existing else "replace" if overwrite else "refuse",
            plot=plot,
        )
        code = _separate_all(Batch(separator, engine.name, named, settings), journal, debug)
        _print_notes(separator, notes)
        _print_times(separator, time.perf_counter() - start)
    if found.unreadable:
        print(f"bsm-run: folders that could not be read: {len(found.unreadable)}", file=sys.stderr)
    return 2 if found.unreadable else code


def _separate_all(batch: Batch, journal: Journal | None, debug: bool) -> int:
    """Returns the exit code: 2 if a song failed. The error of an only song is raised."""
    done: list[Outcome] = []
    failures = 0
    for i, song in enumerate(batch.songs, 1):
        label = song.path.name if len(batch.songs) == 1 else f"{i} of {len(batch.songs)}: {song.path.name}"
        try:
            outcome = batch.separate(song, label)
        except SeparationError as error:
            failures += 1
            if journal is not None:
                journal.add(engine=batch.engine, song=song.path.absolute(), status="failed", error=str(error))
            if len(batch.songs) == 1:
                raise
            if debug:
                traceback.print_exc()
            print(f"bsm-run: {printable(str(error))}", file=sys.stderr)
        else:
            done.append(outcome)
            if journal is not None:
                journal.add(engine=batch.engine, **outcome.fields())
            _print_outcome(outcome)
    if len(batch.songs) > 1:
        _print_summary(done, failures)
    if failures:
        print(f"bsm-run: {failures} of {len(batch.songs)} songs failed", file=sys.stderr)
    return 2 if failures else 0


def _print_notes(separator: Separator, printed: int) -> int:
    """Print what the backend noted after the first `printed` notes; returns how many there are."""
    for note in separator.backend.notes[printed:]:
        print(f"bsm-run: {printable(note)}", file=sys.stderr)
    return len(separator.backend.notes)


def _print_outcome(outcome: Outcome) -> None:
    name = printable(str(outcome.song))
    if not outcome.written:
        print(f"{name}: skipped, its stems exist")
        return
    report = outcome.report
    if report is None:
        print(f"{name}: drawn, its stems exist")
    else:
        pace = f"{report.seconds / report.wall:.2g} times real time"
        print(f"{name}: {report.seconds:.1f} s separated in {report.wall:.1f} s ({pace})")
        for stem, path in outcome.stems.items():
            if path in outcome.written:
                cut = report.clipped.get(stem, 0)
                note = f"  ({cut} samples clipped: --clip rescale or --subtype FLOAT keeps them)" if cut else ""
                print(f"  {printable(str(path))}{note}")
        for each in report.notes:
            print(f"  note: {printable(each)}")
        if report.gain != 1.0:
            print(f"  turned down to {report.gain:.3g} of their level, so that nothing clips (see --clip)")
    if outcome.plot in outcome.written:
        print(f"  {printable(str(outcome.plot))}")


def _print_summary(done: list[Outcome], failures: int) -> None:
    separated = [outcome for outcome in done if outcome.written]
    reports = [outcome.report for outcome in done if outcome.report is not None]
    seconds, took = sum(report.seconds for report in reports), sum(report.wall for report in reports)
    counts = f"{len(separated)} separated, {len(done) - len(separated)} skipped, {failures} failed"
    pace = f"; {seconds:.0f} s in {took:.0f} s ({seconds / took:.2g} times real time)" if took else ""
    print(f"{len(done) + failures} songs: {counts}{pace}")


def _print_times(separator: Separator, total: float) -> None:
    stages = separator.times.seconds
    named = ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages.items())
    share = 100 * stages.get("engine", 0.0) / total
    print(f"{separator.backend.name}: {share:.1f}% of {total:.1f} s in the engine (seconds: {named})")


def main() -> None:
    run_command(app, "bsm-run")


if __name__ == "__main__":
    main()
