"""What all commands have in common."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from runtime.command import exit_code

PYPROJECT = (Path(__file__).parents[1] / "pyproject.toml").read_text()


@pytest.mark.parametrize("command", ["bsm-run", "bsm-export", "bsm-parity", "bsm-bench", "bsm-eval"])
def test_a_command_tells_its_version(command, capsys):
    module = re.search(rf'^{command} = "([\w.]+):main"$', PYPROJECT, re.M)[1]
    assert exit_code(import_module(module).app, command, ["--version"]) == 0  # alone, though others are required
    assert capsys.readouterr() == (f"{command} {version('bsmamba2')}\n", "")
