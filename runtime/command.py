"""What all commands share: --help, --version, one line for a user's error, a traceback only with --debug, signals."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from runtime.backends.device import HINTS, METAVAR
from runtime.errors import SeparationError
from runtime.printable import printable
from runtime.streams import make_streams_lasting

INTERRUPTED = 130
HELP = ["-h", "--help"]


def _show_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        print(f"{context.info_name} {version('bsmamba2')}")
        raise typer.Exit


# For a parameter `version` of every command. Eager: it works without the arguments that are required otherwise.
Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
]
# Parameters that several commands have.
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads.", show_default="one per core")]
Device = Annotated[
    str,
    typer.Option(metavar=METAVAR, help="Device; auto: CUDA if it works, otherwise the CPU; cuda:1: the second GPU."),
]
PrecisionHint = Annotated[
    str | None,
    typer.Option(metavar="|".join(HINTS), help="What OpenVINO computes in.", show_default=HINTS[0]),
]
Config = Annotated[Path | None, typer.Option(metavar="YAML", help="Configuration, if it is not in the checkpoint.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="OUT.json", help="Write the results as JSON.")]


def run_command(app: typer.Typer, name: str, mistakes: tuple[type[Exception], ...] = ()) -> NoReturn:
    """Run `app` on the command line and exit with the code of `exit_code`."""
    make_streams_lasting()
    for each in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, each, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _terminated)
    sys.exit(exit_code(app, name, sys.argv[1:], mistakes))


def exit_code(app: typer.Typer, name: str, args: Sequence[str], mistakes: tuple[type[Exception], ...] = ()) -> int:
    """Run `app` with `args`: 0, 2 for a user's error, 130 for Ctrl-C, SIGTERM and SIGHUP, 1 for an internal error.

    `mistakes` are exceptions that count as a user's error, besides `SeparationError`, OSError and bad options.
    """
    debug = "--debug" in args
    if "" in args:  # as a path it would be the current folder
        print(f"{name}: an argument is empty: check that shell variables are set (see {name} --help)", file=sys.stderr)
        return 2
    try:
        result = get_command(app).main(
            args=list(args), prog_name=name, standalone_mode=False, help_option_names=list(HELP)
        )
        if result == INTERRUPTED:  # typer has turned Ctrl-C into this exit code
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        print(f"{name}: stopped", file=sys.stderr)
        return INTERRUPTED
    except typer.TyperException as error:  # an unknown option, a missing argument
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        message = message.replace(": Value error, ", ": ").rstrip(".")  # what typer's validation puts around ours
        print(f"{name}: {printable(message)} (see {name} --help)", file=sys.stderr)
        return 2
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, (SeparationError, *mistakes)):
            print(f"{name}: {printable(str(error))}", file=sys.stderr)
            return 2
        if isinstance(error, OSError):
            print(f"{name}: {printable(_os_message(error))}", file=sys.stderr)
            return 2
        if isinstance(error, MemoryError):
            print(f"{name}: out of memory: use a smaller batch, a shorter chunk or a shorter song", file=sys.stderr)
            return 2
        summary = (str(error).strip().splitlines() or [""])[0][:300]
        print(
            f"{name}: internal error, please report it: {type(error).__name__}: {summary} (--debug shows a traceback)",
            file=sys.stderr,
        )
        return 1


def _os_message(error: OSError) -> str:
    """Names the file: a name too long, a folder that may not be entered, standard output on a full disk."""
    if isinstance(error, FileNotFoundError) and _current_folder_is_gone():
        return "the current folder no longer exists: change to another folder"
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _current_folder_is_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _terminated(number: int, frame: object) -> NoReturn:
    """End the command as Ctrl-C does, so that temporary files are removed; another signal does not stop the removal."""
    for each in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, each):
            signal.signal(getattr(signal, each), signal.SIG_IGN)
    raise KeyboardInterrupt
