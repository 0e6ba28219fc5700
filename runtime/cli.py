"""`bsm-run`: songs in, stems out."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.audio import CLIP, FORMATS, SUBTYPES
from runtime.cluster.many import separate_in_processes, separate_shared
from runtime.cluster.sharing import may_use_gpu, parse_jobs
from runtime.cluster.status import describe
from runtime.command import Debug, Device, PrecisionHint, Threads, Version, run_command
from runtime.engine.info import describe_engine
from runtime.errors import OptionError
from runtime.printable import counted, printable
from runtime.separation.procedure import DEFAULT_OVERLAP, PROCEDURES
from runtime.separation.separator import Separator, open_separator
from runtime.separation.streaming import SongSeparator
from runtime.songs.batch import Settings
from runtime.songs.in_turn import separate_in_turn
from runtime.songs.inputs import STDIN, SUFFIXES, find_songs
from runtime.songs.journal import Journal, common_fields
from runtime.songs.known import known_songs
from runtime.songs.listed import read_list
from runtime.songs.piped import check_standard_input
from runtime.songs.separate import CHANNELS
from runtime.songs.settle import settle, sweep_for
from runtime.songs.stored import batch_for
from runtime.songs.telling import say

app = typer.Typer(add_completion=False)
Format = Enum("Format", {name: name.lower() for name in FORMATS}, type=str)  # type: ignore[misc]
Subtype = Enum("Subtype", {name: name for name in SUBTYPES}, type=str)  # type: ignore[misc]
Clip = Enum("Clip", {name: name for name in CLIP}, type=str)  # type: ignore[misc]
Procedure = Enum("Procedure", {name: name for name in PROCEDURES}, type=str)  # type: ignore[misc]
TRITON = "Separate with the model ENGINE of the Triton server at this gRPC address (see bsm-export --triton)."


def _show_status(folder: Path | None) -> None:
    if folder is not None:
        print("\n".join(describe(folder)))
        raise typer.Exit


Status = Annotated[
    Path | None,
    typer.Option(metavar="DIR", callback=_show_status, is_eager=True, help="Say how far a run with --shared DIR is."),
]


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
    precision_hint: PrecisionHint = None,
    threads: Threads = None,
    jobs: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Processes, each with its own engine; auto: as cores and memory allow.",
            show_default="1; with --ray auto",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|auto|HOST:PORT", help="Use processes of Ray: its own here, this cluster's, or that."
        ),
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE", help="Songs, a path or JSON a line; - is standard input."),
    ] = None,
    shared: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Share the songs with all that run this command with the same DIR."),
    ] = None,
    status: Status = None,
    triton_client: Annotated[
        str | None, typer.Option("--triton-client", metavar="HOST:PORT", help=TRITON, show_default=False)
    ] = None,
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
    if not songs and listed is None:
        raise OptionError("no songs given: give sound files or folders after the engine")
    if skip_existing and overwrite:
        raise OptionError("--skip-existing and --overwrite exclude each other: give one of them")
    if shared is not None and manifest is not None:
        raise OptionError("--manifest: not with --shared, whose journals are in its folder: leave it out")
    if STDIN in (songs or []):
        check_standard_input()
    if shared is not None and ray is not None:
        raise OptionError("--shared and --ray exclude each other: give one of them")
    if triton_client is not None and (jobs, shared, ray) != (None, None, None):
        raise OptionError("--triton-client: songs run side by side at the server: leave out --jobs, --shared and --ray")
    processes = parse_jobs(jobs or ("1" if ray is None else "auto"))
    start = time.perf_counter()
    given = [*(songs or []), *(read_list(listed) if listed is not None else [])]
    options = {
        "overlap": overlap,
        "batch": batch,
        "threads": threads,
        "device": device,
        "precision_hint": precision_hint,
        "tta": tta,
        "shifts": shifts,
        "procedure": procedure.value,
    }
    wish = Settings(
        folder=output,
        stems=[] if stems is None else list(dict.fromkeys(stem.strip().lower() for stem in stems.split(","))),
        format=format and format.value,
        subtype=subtype and subtype.value,
        clip=clip.value,
        channels=channels,
        existing="skip" if skip_existing else "replace" if overwrite else "refuse",
        plot=plot,
    )
    if shared is not None:
        return separate_shared(shared, engine, options, given, recursive, wish, processes, debug)
    found = find_songs(given, recursive, output)
    for line in found.unreadable:
        say(line)
    few = len(found.songs) == 1 or processes == 1 or (processes is None and may_use_gpu(engine, device))
    alone = few and ray is None
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(manifest)) if manifest is not None else None
        if not alone:
            code = separate_in_processes(engine, options, found.songs, wish, processes, journal, debug, ray)
        else:
            separator = stack.enter_context(closing(_opened(engine, triton_client, options)))
            separator.times.seconds["open"] = time.perf_counter() - start
            notes = _print_notes(separator, 0)
            named, settings = settle(found.songs, wish, separator.stems)
            if isinstance(separator, Separator):
                common = common_fields(engine, separator.manifest, settings)
            else:
                common = {"engine": str(engine), "server": triton_client, "format": settings.format}
            known = known_songs(journal, common, settings)
            sweep_for(named, settings)
            code = separate_in_turn(batch_for(separator, engine.name, settings), named, journal, known, debug)
            _print_notes(separator, notes)
            _print_times(separator, time.perf_counter() - start)
    if found.unreadable:
        say(f"{counted(len(found.unreadable), 'folder')} could not be read")
    return 2 if found.unreadable else code


def _opened(engine: Path, server: str | None, options: dict[str, Any]) -> SongSeparator:
    if server is None:
        return open_separator(engine, **options)
    from runtime.serving.triton.client import open_triton

    return open_triton(server, str(engine), **options)


def _print_notes(separator: SongSeparator, printed: int) -> int:
    """Print the backend's notes after the first `printed`; returns how many there are."""
    for note in separator.backend.notes[printed:]:
        say(note)
    return len(separator.backend.notes)


def _print_times(separator: SongSeparator, total: float) -> None:
    stages = separator.times.seconds
    named = ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages.items())
    share = stages.get("engine", 0.0) / total
    print(f"{separator.backend.name}: {share:.0%} of {total:.1f} s in the engine (seconds per stage: {named})")


def main() -> None:
    run_command(app, "bsm-run")


if __name__ == "__main__":
    main()
