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
from runtime.command import Debug, Device, Threads, Version, run_command
from runtime.engine.info import describe_engine
from runtime.errors import OptionError, SeparationError
from runtime.printable import counted, printable
from runtime.separation.procedure import DEFAULT_OVERLAP, PROCEDURES
from runtime.separation.separator import Separator, open_separator
from runtime.songs.batch import Batch, Outcome, Settings, check_songs
from runtime.songs.inputs import STDIN, SUFFIXES, NamedSong, find_songs, real, shown
from runtime.songs.journal import Journal
from runtime.songs.names import name_songs
from runtime.songs.piped import check_standard_input
from runtime.songs.progress import all_progress, duration, pace
from runtime.songs.separate import CHANNELS

app = typer.Typer(add_completion=False)
Format = Enum("Format", {name: name.lower() for name in FORMATS}, type=str)  # type: ignore[misc]
Subtype = Enum("Subtype", {name: name for name in SUBTYPES}, type=str)  # type: ignore[misc]
Clip = Enum("Clip", {name: name for name in CLIP}, type=str)  # type: ignore[misc]
Procedure = Enum("Procedure", {name: name for name in PROCEDURES}, type=str)  # type: ignore[misc]


@app.command()
def run(
    engine: Annotated[
        Path,
        typer.Argument(metavar="ENGINE", help="NAME.onnx or NAME.plan from bsm-export, with NAME.json beside it."),
    ],
    songs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SONG", help="Sound files, or folders of them; - is standard input.", show_default=False
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Output folder.")] = Path("separated"),
    recursive: Annotated[
        bool, typer.Option("-r", "--recursive", help="Include subfolders, and keep their structure in DIR.")
    ] = False,
    stems: Annotated[
        str | None, typer.Option(help="Stems to write, such as vocals,instrumental.", show_default="all")
    ] = None,
    format: Annotated[  # noqa: A002
        Format | None, typer.Option(case_sensitive=False, help="Output format.", show_default="the song's, or wav")
    ] = None,
    subtype: Annotated[
        Subtype | None,
        typer.Option(case_sensitive=False, help="Sample type of the stems.", show_default="the song's, or FLOAT"),
    ] = None,
    clip: Annotated[
        Clip,
        typer.Option(help="Samples above full scale: turn all stems down (rescale), cut (clamp), or ignore (none)."),
    ] = Clip.rescale,  # type: ignore[attr-defined]
    channels: Annotated[
        str,
        typer.Option(
            metavar="|".join(CHANNELS), help="Songs with more than 2 channels: refuse, or separate them in pairs."
        ),
    ] = CHANNELS[0],
    plot: Annotated[bool, typer.Option("--plot", help="Draw each song and its stems into DIR/SONG.png.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep existing stems, write only the missing ones.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing stems.")] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Append a line of JSON per song: what was done.", show_default=False),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            help="Overlap between chunks, as a fraction (0 to 0.9). 0 reproduces the official code.",
            show_default=str(DEFAULT_OVERLAP),
        ),
    ] = None,
    procedure: Annotated[
        Procedure,
        typer.Option(
            help="How songs are cut into chunks and joined: as is best (default), or exactly as MSST does it."
        ),
    ] = Procedure.default,  # type: ignore[attr-defined]
    tta: Annotated[
        bool, typer.Option("--tta", help="Average with a second pass over swapped left/right channels (2x slower).")
    ] = False,
    shifts: Annotated[
        int, typer.Option(metavar="N", help="Average N passes, each shifted by a fraction of a hop (Nx slower).")
    ] = 1,
    batch: Annotated[
        int | None, typer.Option(help="Chunks per engine run.", show_default="the engine's optimum")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    info: Annotated[bool, typer.Option("--info", help="Describe ENGINE and exit.")] = False,
    debug: Debug = False,
    version: Version = False,
) -> int:
    """Separate each SONG with ENGINE into DIR/SONG_<stem>, in the song's format, sample rate, channels and length."""
    if engine.suffix.lower() in SUFFIXES:
        raise OptionError(
            f"{engine}: named like a song: give the engine first (NAME.onnx or NAME.plan), then the songs"
        )
    if info:
        if songs:
            raise OptionError(f"--info takes no songs: leave out {songs[0]}")
        print("\n".join(map(printable, describe_engine(engine).split("\n"))))
        return 0
    if not songs:
        raise OptionError("no songs given: give sound files or folders after the engine")
    if skip_existing and overwrite:
        raise OptionError("--skip-existing and --overwrite exclude each other: give one of them")
    if STDIN in songs:
        check_standard_input()
    start = time.perf_counter()
    found = find_songs(songs, recursive, output)
    for line in found.unreadable:
        print(f"bsm-run: {printable(line)}", file=sys.stderr)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(manifest)) if manifest is not None else None
        separator = stack.enter_context(
            closing(
                open_separator(
                    engine,
                    overlap=overlap,
                    batch=batch,
                    threads=threads,
                    device=device,
                    tta=tta,
                    shifts=shifts,
                    procedure=procedure.value,
                )
            )
        )
        separator.times.seconds["open"] = time.perf_counter() - start
        notes = _print_notes(separator, 0)
        named = name_songs(found.songs, output, separator.stems)
        if left_out := len(found.songs) - len(named):
            stems_found = f"{counted(left_out, 'stem')} of other songs"
            print(f"bsm-run: skipping {stems_found} (give a file by name to separate it)", file=sys.stderr)
        asked = None if stems is None else [stem.strip().lower() for stem in stems.split(",")]
        wanted = separator.stems if asked is None else list(dict.fromkeys(asked))
        settings = Settings(
            folder=output,
            stems=wanted,
            format=format and format.value,
            subtype=subtype and subtype.value,
            clip=clip.value,
            channels=channels,
            existing="skip" if skip_existing else "replace" if overwrite else "refuse",
            plot=plot,
            songs=frozenset(real(song.path) for song in named),
        )
        batch_of_songs = Batch(separator, engine.name, settings)
        check_songs(named, settings)
        code = _separate_all(batch_of_songs, named, journal, debug)
        _print_notes(separator, notes)
        _print_times(separator, time.perf_counter() - start)
    if found.unreadable:
        print(f"bsm-run: {counted(len(found.unreadable), 'folder')} could not be read", file=sys.stderr)
    return 2 if found.unreadable else code


def _separate_all(batch: Batch, songs: list[NamedSong], journal: Journal | None, debug: bool) -> int:
    """Returns the exit code: 2 if a song failed. The error of a single song is raised."""
    done: list[Outcome] = []
    failures = 0
    for i, song in enumerate(songs, 1):
        name = shown(Path(song.path.name))
        label = name if len(songs) == 1 else f"{i} of {len(songs)}: {name}"
        try:
            with all_progress(label) as tell:
                outcome = batch.separate(song, tell)
        except SeparationError as error:
            failures += 1
            if journal is not None:
                path = song.path if song.path == STDIN else song.path.absolute()
                journal.add(engine=batch.engine, song=path, status="failed", error=str(error))
            if len(songs) == 1:
                raise
            if debug:
                traceback.print_exc()
            print(f"bsm-run: {printable(str(error))}", file=sys.stderr)
        else:
            done.append(outcome)
            if journal is not None:
                journal.add(engine=batch.engine, **outcome.fields())
            _print_outcome(outcome)
    if len(songs) > 1:
        _print_summary(done, failures)
    if failures:
        print(f"bsm-run: {failures} of {len(songs)} songs failed", file=sys.stderr)
    return 2 if failures else 0


def _print_notes(separator: Separator, printed: int) -> int:
    """Print the backend's notes after the first `printed`; returns how many there are."""
    for note in separator.backend.notes[printed:]:
        print(f"bsm-run: {printable(note)}", file=sys.stderr)
    return len(separator.backend.notes)


def _print_outcome(outcome: Outcome) -> None:
    name = printable(shown(outcome.song))
    if not outcome.written:
        print(f"{name}: skipped, its stems exist")
        return
    report = outcome.report
    if report is None:
        print(f"{name}: picture drawn, its stems exist")
    else:
        print(f"{name}: {_work(report.seconds, report.wall, 'separated in')}")
        for stem, path in report.written.items():
            cut = report.clipped[stem]
            note = f"  ({counted(cut, 'sample')} clipped; --clip rescale or --subtype FLOAT avoids it)" if cut else ""
            print(f"  {printable(str(path))}{note}")
        for each in report.notes:
            print(f"  note: {printable(each)}")
        if report.gain != 1.0:
            print(f"  all stems turned down to {report.gain:.3g} of their level so that none clips (see --clip)")
    if outcome.plot in outcome.written:
        print(f"  {printable(str(outcome.plot))}")


def _print_summary(done: list[Outcome], failures: int) -> None:
    separated = [outcome for outcome in done if outcome.written]
    reports = [outcome.report for outcome in done if outcome.report is not None]
    seconds, took = sum(report.seconds for report in reports), sum(report.wall for report in reports)
    counts = f"{len(separated)} separated, {len(done) - len(separated)} skipped, {failures} failed"
    work = f"; {_work(seconds, took, 'of audio in')}" if took else ""
    print(f"{len(done) + failures} songs: {counts}{work}")


def _print_times(separator: Separator, total: float) -> None:
    stages = separator.times.seconds
    named = ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages.items())
    share = stages.get("engine", 0.0) / total
    print(f"{separator.backend.name}: {share:.0%} of {total:.1f} s in the engine (seconds per stage: {named})")


def _work(seconds: float, took: float, joined: str) -> str:
    """Such as "10.0 s separated in 5.6 s (1.8x real time)"."""
    return f"{duration(seconds)} {joined} {duration(took)} ({pace(seconds, took)})"


def main() -> None:
    run_command(app, "bsm-run")


if __name__ == "__main__":
    main()
