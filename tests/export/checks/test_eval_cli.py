"""`bsm-eval` on a tiny engine and its checkpoint, with songs made here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import STFT, tiny_checkpoint

from bsmamba2.errors import BsmambaError
from export.checks.eval_cli import app
from runtime.command import exit_code

RATE = STFT.sample_rate


@pytest.fixture(scope="module")
def folder(tracing, tmp_path_factory):
    """tiny.safetensors, its engine for up to 0.8 s, songs of two folders."""
    from export.cli import app as export_app

    folder = tmp_path_factory.mktemp("evaluated")
    checkpoint = tiny_checkpoint(folder, kind="transformer")  # traced faster
    args = ["--ckpt", str(checkpoint.path), "--frames", "20:401:641", "-o", str(folder / "engine")]
    assert exit_code(export_app, "bsm-export", args) == 0
    rng = np.random.default_rng(0)
    for name in ("test/one", "test/two", "valid/three"):
        (folder / "songs" / name).mkdir(parents=True)
        for stem in ("vocals", "drums"):
            wave = rng.uniform(-0.5, 0.5, (2 * RATE, 2))
            soundfile.write(folder / "songs" / name / f"{stem}.wav", wave, RATE, subtype="FLOAT")
    return folder


@pytest.fixture
def evaluate(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def run(*args):
        code = exit_code(app, "bsm-eval", ["--data", "songs", *map(str, args)], mistakes=(BsmambaError,))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def figures(path, model):
    data = json.loads(path.read_text())
    return {
        (each["track"], each["seconds"], each["stem"]): each["usdr"]
        for each in data["tracks"]
        if each["model"] == model
    }


def test_an_engine_is_judged_as_the_checkpoint_it_came_from(evaluate, tmp_path):
    out = tmp_path / "out.json"
    args = ("engine.onnx", "tiny.safetensors", "--subset", "test", "--seconds", "0.5,0.75", "--json", out)
    code, text, _ = evaluate(*args)
    assert code == 0
    engine, network = figures(out, "engine"), figures(out, "tiny")
    assert {key[0] for key in engine} == {"one", "two"}
    assert {key[1] for key in engine} == {0.5, 0.75} and {key[1] for key in network} == {0.5, 0.75, 8.0}
    for key, value in engine.items():
        assert value == pytest.approx(network[key], abs=1e-4)
    assert engine["one", 0.5, "vocals"] != pytest.approx(engine["one", 0.75, "vocals"], abs=1e-6)
    assert "Table IV" in text and "BSMamba2, published" in text


def test_one_length_is_that_of_all_tables(evaluate, tmp_path):
    out = tmp_path / "out.json"
    code, text, _ = evaluate("engine.onnx", "tiny.safetensors", "--limit", "1", "--seconds", "0.5", "--json", out)
    assert code == 0 and "Table IV" not in text
    assert {key[1] for model in ("engine", "tiny") for key in figures(out, model)} == {0.5}
    assert json.loads(out.read_text())["data"] == str(Path("songs", "test"))


def test_a_song_that_cannot_be_judged_is_refused_before_any_is_separated(evaluate, tmp_path):
    for name, stem in (("a", "vocals"), ("b", "drums")):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / f"{stem}.flac", np.zeros((RATE, 2)), RATE)
    code, out, error = evaluate("engine.onnx", "--data", tmp_path)
    assert (code, out) == (2, "") and error.startswith("bsm-eval: b: has no true vocals")


def test_an_engine_is_judged_without_pytorch(folder):
    code = "import sys\nfor name in ('torch', 'onnx', 'safetensors', 'yaml'): sys.modules[name] = None\n"
    code += "from export.checks.eval_cli import main\nmain()"
    args = ["engine.onnx", "--data", "songs", "--limit", "1", "--stem", "vocals"]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "") and "no separation" in done.stdout


def test_a_length_the_engine_does_not_take(evaluate):
    code, _, error = evaluate("engine.onnx", "--subset", "test", "--seconds", "1")
    assert code == 2
    assert error == (
        "bsm-eval: --seconds 1: engine.onnx takes 0.02375 to 0.8 s: export it again with --frames MIN:OPT:MAX "
        "(1 s are 801 frames)\n"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("engine.onnx", "--data", "songs/test/one"), "contains no songs"),
        (("engine.onnx", "--stem", "drums"), "--stem drums: must be among vocals, instrumental"),
        (("engine.onnx", "--weights", "ema"), "--weights: applies to checkpoints"),
        (("tiny.safetensors", "--device", "cuda"), "tiny.safetensors is a checkpoint, which runs on the CPU"),
        (("engine.onnx", "--overlap", "1"), "overlap 1"),
        (("engine.onnx", "--subset", "nothing"), "has no folder 'nothing'"),
        (("engine.onnx", "--seconds", "one"), "--seconds one: must be numbers"),
        (("engine.onnx", "--seconds", "1e9"), "must be between 0.1 and 600 s"),
        (("missing.onnx", "--subset", "test"), "missing.onnx"),
        (("missing.ckpt", "--subset", "test"), "missing.ckpt"),
        (("engine.onnx", "--subset", "test", "--report", "no/such/folder.html"), "--report"),
    ],
)
def test_mistakes_are_one_line(evaluate, args, message):
    code, out, error = evaluate(*args)
    assert code == 2 and message in error and len(error.splitlines()) == 1 and out == ""


def test_report(evaluate, tmp_path):
    report = tmp_path / "page.html"
    code, text, _ = evaluate("engine.onnx", "--limit", "1", "--stem", "vocals", "--report", report)
    assert code == 0 and "One song" in text and "Instrumental" not in text
    assert "engine improves the vocals from" in report.read_text()
