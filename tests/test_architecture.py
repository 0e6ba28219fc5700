"""docs/architecture.md describes the folders that are there, and the ways that the commands really take."""

from __future__ import annotations

import ast
import re
import sys
import threading
from pathlib import Path

import pytest
from songs import song
from test_imports import FLOORS, GROUND
from tiny import tiny_checkpoint

from export import cli as export_cli
from export import engine
from export.graph import template, to_onnx
from export.graph.tracing import traced
from runtime import cli as run_cli
from runtime.command import exit_code

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SECTIONS = dict(re.findall(r"^##+ (.*)\n((?:(?!##).*\n)*)", PAGE, re.M))
STEP = re.compile(r"^(\d+)\. `([\w/]+\.py)`: `(\w+)` ", re.M)


def steps(way: str) -> list[tuple[str, str]]:
    """The files and functions of "The way of a ...", in their order."""
    (text,) = (text for title, text in SECTIONS.items() if title.startswith(way))
    found = STEP.findall(text)
    assert [number for number, _, _ in found] == [str(i) for i in range(1, 11)]
    return [(file, function) for _, file, function in found]


CHECKPOINT, SONG = steps("The way of a checkpoint"), steps("The way of a song")


def test_everything_it_names_exists():
    paths = set(re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?|\w+\.toml)`", PAGE))
    assert len(paths) > 60
    for path in paths:
        assert any((folder / path).exists() for folder in (ROOT, *(ROOT / package for package in FLOORS))), path
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


@pytest.mark.parametrize(("file", "function"), [*CHECKPOINT, *SONG])
def test_every_step_is_a_function_of_its_file(file, function):
    nodes = ast.walk(ast.parse((ROOT / file).read_text()))
    assert function in {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_and_every_module_beside_them_is_described(package):
    text = SECTIONS[f"{package}/"]
    assert re.findall(r"^- `(\w+)/`: ", text, re.M) == FLOORS[package]  # the import test holds that these are all
    ground = re.search(r"^Ground: .*\n(?:.+\n)*", text, re.M)[0]
    assert set(re.findall(rf"`{package}/(\w+)\.py`", ground)) == GROUND[package]
    modules = {path.stem for path in (ROOT / package).glob("*.py") if path.read_text()}
    assert modules <= set(re.findall(rf"`{package}/(\w+)\.py`", text))


class Calls:
    """Which of some functions are called while it is entered, in the order of their first calls."""

    def __init__(self, wanted: list[tuple[str, str]]) -> None:
        self._wanted = {(str(ROOT / file), function): (file, function) for file, function in wanted}
        self._files = {file for file, _ in self._wanted}
        self.found: list[tuple[str, str]] = []

    def _called(self, frame, event, argument) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename in self._files:
            step = self._wanted.pop((code.co_filename, code.co_name), None)
            if step is not None:
                self.found.append(step)

    def __enter__(self) -> Calls:
        threading.setprofile(self._called)  # of threads that are started from here on
        sys.setprofile(self._called)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.fixture
def tracing_is_not_watched(monkeypatch):
    """PyTorch's exporter makes millions of calls, none of them one of ours that counts."""

    def unwatched(*args, **options):
        watch = sys.getprofile()
        sys.setprofile(None)
        try:
            return traced(*args, **options)
        finally:
            sys.setprofile(watch)

    monkeypatch.setattr(template, "traced", unwatched)
    monkeypatch.setattr(engine, "to_onnx", to_onnx.to_onnx)  # not one that other tests share


@pytest.mark.seconds
@pytest.mark.usefixtures("tracing_is_not_watched")
def test_the_commands_take_these_ways(tmp_path):
    checkpoint = tiny_checkpoint(tmp_path, kind="transformer").path
    with Calls(CHECKPOINT) as calls:
        args = ["--ckpt", str(checkpoint), "-o", str(tmp_path / "tiny"), "--frames", "101"]
        assert exit_code(export_cli.app, "bsm-export", args) == 0
    assert calls.found == CHECKPOINT

    song(tmp_path / "song.wav", rate=8000)
    with Calls(SONG) as calls:
        args = [str(tmp_path / "tiny.onnx"), str(tmp_path / "song.wav"), "-o", str(tmp_path)]
        assert exit_code(run_cli.app, "bsm-run", args) == 0
    assert calls.found == SONG
