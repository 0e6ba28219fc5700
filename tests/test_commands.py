"""What all commands have in common."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from runtime.command import exit_code

PYPROJECT = (Path(__file__).parents[1] / "pyproject.toml").read_text()


COMMANDS = ["bsm-run", "bsm-serve", "bsm-export", "bsm-parity", "bsm-bench", "bsm-eval"]


def app_of(command):
    module = re.search(rf'^{command} = "([\w.]+):main"$', PYPROJECT, re.M)[1]
    return import_module(module).app


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_its_version(command, capsys):
    assert exit_code(app_of(command), command, ["--version"]) == 0  # alone, though others are required
    assert capsys.readouterr() == (f"{command} {version('bsmamba2')}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_both_options_for_help_show_it(command, capsys):
    shown = []
    for option in ("-h", "--help"):
        assert exit_code(app_of(command), command, [option]) == 0
        shown.append(capsys.readouterr())
    assert shown[0] == shown[1] and not shown[0].err
    assert f"Usage: {command} " in shown[0].out and re.search(r"--help\s+-h", shown[0].out)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(2, "No such file or directory", "x.wav"), "x.wav: No such file or directory"),
        (OSError(28, "No space left on device", "standard output"), "standard output: No space left on device"),
        (OSError("something odd"), "something odd"),
    ],
)
def test_an_error_of_the_system_names_its_file_where_there_is_one(error, message, capsys):
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    assert exit_code(app, "bsm-x", []) == 2
    assert capsys.readouterr().err == f"bsm-x: {message}\n"
