"""What every command of this project does alike: one line for a mistake, a traceback only when asked for."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import typer
from typer.main import get_command

from runtime.errors import SeparationError

INTERRUPTED = 130


def run_command(app: typer.Typer, name: str, mistakes: tuple[type[Exception], ...] = ()) -> NoReturn:
    """Run `app` on the command line and exit: 0, 2 for a user's mistake, 130 for Ctrl-C, 1 for a fault of ours.

    `mistakes` are exceptions that count as the user's, besides `SeparationError` and bad options.
    """
    sys.exit(exit_code(app, name, sys.argv[1:], mistakes))


def exit_code(app: typer.Typer, name: str, args: Sequence[str], mistakes: tuple[type[Exception], ...] = ()) -> int:
    debug = "--debug" in args
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
        print(f"{name}: {message} (see {name} --help)", file=sys.stderr)
        return 2
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, (SeparationError, *mistakes)):
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        if isinstance(error, MemoryError):
            print(f"{name}: out of memory: use a smaller --batch or a shorter song", file=sys.stderr)
            return 2
        summary = (str(error).strip().splitlines() or [""])[0][:300]
        print(
            f"{name}: a fault of {name} itself, {type(error).__name__}: {summary} (--debug shows where)",
            file=sys.stderr,
        )
        return 1
