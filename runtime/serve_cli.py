"""`bsm-serve`: a service with a page; and, with --client, a song through one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from runtime.audio import FORMATS
from runtime.command import Debug, Device, Threads, Version, run_command
from runtime.errors import OptionError
from runtime.songs.inputs import SUFFIXES

app = typer.Typer(add_completion=False)
DATA, OUTPUT = Path("bsm-serve-data"), Path("separated")


@app.command()
def serve(
    given: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="ENGINE", help="NAME.onnx or NAME.plan from bsm-export; songs, with --client.", show_default=False
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at. All but this machine's own need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: a free one.")] = 8765,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A name by which clients call this server, such as a proxy's; repeatable."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File with the secret that clients must show.", show_default="$BSM_SERVE_TOKEN"
        ),
    ] = None,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for songs, stems and the queue; a restart goes on with it.")
    ] = DATA,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Songs separated at a time, each by its own process.")
    ] = 1,
    keep: Annotated[float, typer.Option(min=0.001, metavar="HOURS", help="Hours that stems are kept.")] = 24.0,
    max_seconds: Annotated[float, typer.Option(min=1, metavar="S", help="Longest song.")] = 1800.0,
    max_upload: Annotated[int, typer.Option(min=1, metavar="MB", help="Largest file.")] = 500,
    queue: Annotated[int, typer.Option(min=1, metavar="N", help="Songs that may wait.")] = 50,
    max_work: Annotated[float, typer.Option(min=0.01, metavar="MIN", help="Longest time for a song.")] = 240.0,
    max_memory: Annotated[
        int | None,
        typer.Option(min=512, metavar="MB", help="Most memory of a worker, as addresses.", show_default="no limit"),
    ] = None,
    ffmpeg: Annotated[
        bool, typer.Option("--ffmpeg", help="Let an installed ffmpeg read what libsndfile cannot (M4A, video ...).")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    client: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send songs to the server at URL, and save their stems.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="With --client: output folder.")] = Path(
        "separated"
    ),
    engine: Annotated[str | None, typer.Option(help="With --client: name of the engine.", show_default=False)] = None,
    stems: Annotated[str | None, typer.Option(help="With --client: such as vocals,drums.", show_default="all")] = None,
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            metavar="|".join(FORMATS).lower(), help="With --client: output format.", show_default="the song's"
        ),
    ] = None,
    debug: Debug = False,
    version: Version = False,
) -> int:
    """Serve ENGINEs: a page at http://HOST:PORT/, and an interface for programs (/api/openapi.json)."""
    token = read_token(token_file)
    songs = [path for path in given or [] if path.suffix.lower() in SUFFIXES]
    if client is None and (output != OUTPUT or engine or stems or format):
        raise OptionError("-o, --engine, --stems and --format are for --client: clients of a server choose these")
    if client is None and songs:
        raise OptionError(f"{songs[0]}: named like a song: give engines, or --client URL to send songs to a server")
    try:
        from runtime.serving.client import separate_songs
        from runtime.serving.server import run_server
        from runtime.serving.settings import MB, Limits
    except ModuleNotFoundError as error:
        raise OptionError(
            f"{(error.name or '').split('.')[0]} is not installed: pip install 'bsmamba2[serve]'"
        ) from error
    if client is not None:
        return separate_songs(client, given or [], output, engine, stems, format, token)
    limits = Limits(
        seconds=max_seconds,
        upload_bytes=max_upload * MB,
        queue=queue,
        keep=keep * 3600,
        work=max_work * 60,
        memory=None if max_memory is None else max_memory * MB,
    )
    options = {"device": device, "threads": threads or max(1, cores() // workers)}
    return run_server(given or [], data, limits, workers, options, ffmpeg, host, port, name or [], token)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_token(path: Path | None) -> str | None:
    """The token in the file at `path`, or in $BSM_SERVE_TOKEN; None without both. Raises OptionError."""
    where = "$BSM_SERVE_TOKEN" if path is None else f"--token-file {path}"
    try:
        token = os.environ.get("BSM_SERVE_TOKEN") if path is None else path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise OptionError(f"{where}: cannot be read ({reason})") from error
    if token is None:
        return None
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise OptionError(
            f"{where}: expected 16 printable ASCII characters or more in one line, without spaces: make one with "
            "openssl rand -hex 32"
        )
    return token


def main() -> None:
    run_command(app, "bsm-serve")


if __name__ == "__main__":
    main()
