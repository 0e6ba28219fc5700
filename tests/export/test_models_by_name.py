"""`bsm-export --list`, `--ckpt NAME` and `--offline`, and names in the other commands."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from bad_server import CONTENT, Server
from halving import halving_engine
from rich.console import Console
from songs import song
from tiny import tiny_checkpoint

from bsmamba2.catalogue import entries
from bsmamba2.errors import BsmambaError
from export import cli, listing, named
from export.checks import bench_cli, eval_cli, parity_cli
from export.named import checkpoint_of
from runtime.command import exit_code

MISTAKES = (BsmambaError,)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch):
    """A server, and a model "some-model" in the catalogue that it has."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    running = Server()
    entry = running.entry("good")
    monkeypatch.setattr(named, "find", lambda name: entry if name == entry.name else None)
    yield running
    running.close()


def listed(capsys, *args):
    assert exit_code(cli.app, "bsm-export", ["--list", *args]) == 0
    out, err = capsys.readouterr()
    assert not err
    return out.splitlines()


def failed(capsys, app, *args):
    assert exit_code(app, "bsm-x", list(args), mistakes=MISTAKES) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_the_list_has_a_line_for_every_model(capsys):
    head, *lines, last = listed(capsys)
    assert head.split() == ["name", "MB", "stems", "licence", "note"]
    assert [line.split()[0] for line in lines] == [entry.name for entry in entries()]
    assert last.startswith("68 models; bsm-export --ckpt NAME")
    assert all(line == line.rstrip() for line in lines)
    fno = next(line for line in lines if "fno" in line)
    assert "332  instrumental  " in fno and "none stated" in fno and "refused: another mask estimator (FNO)" in fno


@pytest.mark.parametrize(
    ("word", "count"),
    [("kim", 4), ("KIM", 4), ("piano", 1), ("bsmamba2", 2), ("HyperACE", 2), ("local file only", 1), ("fno", 1)],
)
def test_a_word_filters_names_stems_kinds_and_notes(capsys, word, count):
    assert len(listed(capsys, word)) == count + 2
    assert len(listed(capsys, word, "--debug")) == count + 2


def test_a_word_that_nothing_has(capsys):
    assert "--list nothing: no model has this in its name" in failed(capsys, cli.app, "--list", "nothing")


@pytest.mark.parametrize("width", [40, 80, 120, 170])
def test_a_terminal_shows_names_uncut_and_loses_nothing(capsys, monkeypatch, width):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal)
    listing.print_list("")
    text = re.sub("\x1b.*?m", "", terminal.getvalue())
    lines = text.splitlines()
    assert Console().width == width and max(map(len, lines)) <= max(width, 80)
    assert "…" not in text
    for entry in entries():
        assert any(line.startswith(f"{entry.name} ") for line in lines), entry.name
    assert " ".join(text.split()).count("refused:") == 4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--list", "kim", "--frames", "61"], "--frames: cannot be used with --list: leave it out"),
        (["--list", "--offline"], "--offline: cannot be used with --list: leave it out"),
        (["--list", "--ckpt", "demo"], "give one of --ckpt PATH, --rebuild NAME, --inspect NAME, --triton DIR, --list"),
        (["--list", "kim", "unwa"], "unwa: --list takes one WORD"),
        (["--rebuild", "x", "--offline"], "--offline: cannot be used with --rebuild: leave it out"),
        (["--offline"], "give one of --ckpt PATH"),
        (["--ckpt", "bs-roformer-fno-inst-unwa"], "cannot be exported: it has another mask estimator (FNO)"),
        (["--ckpt", "mel-roformer-vocals-kin"], "did you mean mel-roformer-vocals-kim"),
        (["--ckpt", "kim"], "kim: neither a file nor a name of the catalogue (did you mean mel-roformer-vocals-kim"),
        (["--ckpt", "bsmamba2-vocals-official"], "put your own file of 770628060 bytes at "),
        (["--ckpt", "mel-roformer-vocals-kim", "--offline"], "cache/mel-roformer-vocals-kim.ckpt: is not there, and"),
        (["--ckpt", "mel-roformer-vocals-kim.ckpt"], "mel-roformer-vocals-kim.ckpt: cannot be read (No such file"),
        (["--ckpt", "folder/mel-roformer-vocals-kim"], "folder/mel-roformer-vocals-kim: cannot be read (No such"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_downloaded(capsys, monkeypatch, tmp_path, args, message):
    monkeypatch.setattr("httpx.Client", lambda **options: pytest.fail("would download"))
    assert message in failed(capsys, cli.app, *args)
    assert not list(tmp_path.iterdir())


def test_a_name_is_fetched_with_its_licence_and_progress(server, empty_cache):
    told = []
    path = checkpoint_of("some-model", False, told.append)
    assert path == empty_cache / "some-model.ckpt" and path.read_bytes() == CONTENT
    assert told[0].startswith("some-model: 0 MB from 127.0.0.1") and "licence: CC-BY-NC-SA-4.0" in told[1]
    assert told[-1].startswith("some-model: 100 % of ") and 3 <= len(told) <= 12
    assert checkpoint_of("some-model", True, told.append) == path
    assert len(server.asked) == 1


def test_a_file_of_that_name_comes_first(server):
    Path("some-model").write_bytes(b"mine")
    assert checkpoint_of("some-model", False, print) == Path("some-model")
    assert not server.asked


def test_a_folder_of_that_name_does_not_hide_the_model(server, empty_cache):
    Path("some-model").mkdir()
    assert checkpoint_of("some-model", False, print) == empty_cache / "some-model.ckpt"
    Path("other").mkdir()
    assert checkpoint_of("other", False, print) == Path("other")  # whoever reads it says that it is a folder
    assert checkpoint_of("demo", False, print) == Path("demo")


def test_all_commands_take_names(server, capsys, monkeypatch, tmp_path):
    """The file is no checkpoint: that it is read at all shows that it was fetched."""
    halving_engine(tmp_path / "engine.onnx", sample_rate=8000)
    song("songs/a/mixture.wav", rate=8000)
    song("songs/a/vocals.wav", rate=8000)
    for app, args in (
        (cli.app, ["--ckpt", "some-model"]),
        (parity_cli.app, [str(tmp_path / "engine.onnx"), "--ckpt", "some-model"]),
        (eval_cli.app, ["some-model", "--data", "songs"]),
    ):
        assert exit_code(app, "bsm-x", args, mistakes=MISTAKES) == 2
        *_, last = capsys.readouterr().err.splitlines()
        assert f"bsm-x: {tmp_path / 'cache' / 'some-model.ckpt'}: " in last
    assert len(server.asked) == 1
    given = []
    monkeypatch.setattr(bench_cli, "_torch", lambda ckpt, *others: given.append(ckpt) or [])
    monkeypatch.setattr(bench_cli, "measure", lambda *args, **options: [])
    exit_code(bench_cli.app, "bsm-x", [str(tmp_path / "engine.onnx"), "--ckpt", "some-model"])
    assert given == [str(tmp_path / "cache" / "some-model.ckpt")]


def test_the_engine_has_the_models_name(tmp_path, monkeypatch, capsys):
    local = tiny_checkpoint(tmp_path, kind="transformer").path
    asked = []
    monkeypatch.setattr(cli, "checkpoint_of", lambda ckpt, *others: local.rename(tmp_path / f"{ckpt}.safetensors"))
    monkeypatch.setattr("export.engine.export_engine", lambda checkpoint, name, **options: asked.append(name))
    monkeypatch.setattr("export.telling.tell_written", lambda *args: None)
    assert exit_code(cli.app, "bsm-export", ["--ckpt", "some-model"], mistakes=MISTAKES) == 0, capsys.readouterr()
    assert asked == [Path("engines/some-model")]
