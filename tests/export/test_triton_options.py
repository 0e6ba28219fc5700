"""`bsm-export --triton DIR --from ENGINE...`."""

from __future__ import annotations

import pytest
from halving import halving_engine

from export import cli
from runtime.command import exit_code


def bsm_export(*args: object) -> int:
    return exit_code(cli.app, "bsm-export", [str(each) for each in args])


def test_engines_follow_one_after_the_other(tmp_path, capsys):
    engines = [halving_engine(tmp_path / f"{name}.onnx") for name in ("a", "b", "c")]
    where = tmp_path / "repository"
    assert bsm_export("--triton", where, "--onnxruntime-version", "1.23.2", "--songs", 4, "--from", *engines) == 0
    assert {path.name for path in where.iterdir()} == {each + end for each in "abc" for end in ("", "_network")}
    assert "count: 4" in (where / "c" / "config.pbtxt").read_text()
    out = capsys.readouterr().out
    assert "a: vocals, instrumental; a.onnx runs in ONNX Runtime" in out
    assert f"--model-repository {where}" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--triton", "r"], "--from"),
        (["--from", "x.onnx"], "give one of"),
        (["--triton", "r", "--from", "x.onnx", "--ckpt", "demo"], "give one of"),
        (["--triton", "r", "--from", "x.onnx", "--precision", "fp16"], "--precision: cannot be used with --triton"),
        (["--ckpt", "demo", "--songs", "3"], "--songs: needs --triton"),
        (["--triton", "r", "--from", "nothing.onnx", "--onnxruntime-version", "1.23"], "nothing.onnx: does not exist"),
    ],
)
def test_what_does_not_go_together(args, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert bsm_export(*args) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "r").exists()
