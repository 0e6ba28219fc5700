"""What every command of this project does alike: --version, one line for a mistake, a traceback only when asked for."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from runtime.errors import SeparationError
from runtime.printable import printable

INTERRUPTED = 130


def _show_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        print(f"{context.info_name} {version('bsmamba2')}")
        raise typer.Exit


# For a parameter `version` of every command. Eager: it is heard before a missing argument is.
Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and do nothing.")
]


def run_command(app: typer.Typer, name: str, mistakes: tuple[type[Exception], ...] = ()) -> NoReturn:
    """Run `app` on the command line and exit: 0, 2 for a user's mistake, 130 for Ctrl-C, 1 for a fault of ours.

    `mistakes` are exceptions that count as the user's, besides `SeparationError` and bad options.
    """
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(exit_code(app, name, sys.argv[1:], mistakes))


def exit_code(app: typer.Typer, name: str, args: Sequence[str], mistakes: tuple[type[Exception], ...] = ()) -> int:
    debug = "--debug" in args
    if "" in args:  # as a path it would be the folder one is in
        print(f"{name}: an argument is empty: is a variable not set? (see {name} --help)", file=sys.stderr)
        return 2
    try:
        result = get_command(app).main(args=list(args), prog_name=name, standalone_mode=False)
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
        if isinstance(error, OSError):  # a name too long, a folder that may not be entered
            print(f"{name}: {printable(str(error.filename or 'a file'))}: {error.strerror or error}", file=sys.stderr)
            return 2
        if isinstance(error, MemoryError):
            print(f"{name}: out of memory: use a smaller batch, a shorter chunk or a shorter song", file=sys.stderr)
            return 2
        summary = (str(error).strip().splitlines() or [""])[0][:300]
        print(
            f"{name}: a fault of {name} itself, {type(error).__name__}: {summary} (--debug shows where)",
            file=sys.stderr,
        )
        return 1


def _terminated(number: int, frame: object) -> NoReturn:
    """SIGTERM ends the command as Ctrl-C does, so that temporary files are removed."""
    raise KeyboardInterrupt
