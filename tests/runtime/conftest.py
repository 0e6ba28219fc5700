"""`bsm-run` around an engine whose effect is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import separator_of

from runtime import cli
from runtime.command import exit_code


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """`bsm-run x.onnx ...` in an empty folder, with an engine whose vocals are half the mixture."""
    monkeypatch.chdir(tmp_path)

    def opened(engine, *, threads, device, precision_hint, **options):
        return separator_of(**options)

    monkeypatch.setattr(cli, "open_separator", opened)
    return lambda *args: exit_code(cli.app, "bsm-run", ["x.onnx", *map(str, args)])


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a folder one that may not be looked into: not even by root, to whom modes are nothing."""
    folders: list[str] = []
    scandir = os.scandir

    def refusing(path):
        if str(path) in folders:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    return folders.append
