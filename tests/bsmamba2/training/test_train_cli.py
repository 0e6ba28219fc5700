"""`bsm-train` as it is called: a training killed and gone on with, and what a mistake looks like."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from bsmamba2.checkpoint import load_checkpoint
from bsmamba2.training.cli import exit_code

CONFIG = """
model: {module_type: transformer, dim: 8, depth: 1, stereo: true, freqs_per_bands: [2, 2, 5, 8], heads: 2, dim_head: 4,
        stft_n_fft: 32, stft_hop_length: 10, sample_rate: 8000}
data: {seconds: 0.5, per_epoch: 4, valid: 2}
training: {target_instrument: vocals, batch_size: 2, accumulate: 1, epochs: 6, precision: 32-true}
"""


def command(config: Path, songs: Path, output: Path, *more: str) -> list[str]:
    options = ["--config", str(config), "--data", str(songs), "-o", str(output), "--accelerator", "cpu"]
    return [sys.executable, "-m", "bsmamba2.training.cli", *options, "--workers", "0", "--threads", "1", *more]


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(songs: Path, tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = subprocess.run(command(config, songs, whole), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 7 and lines[5].startswith("epoch 6 of 6: loss ")
    assert lines[6].startswith(f"wrote {whole / 'weights.safetensors'}")

    process = subprocess.Popen(command(config, songs, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)  # at whatever it was doing
    process.wait()
    load_checkpoint(killed / "last.ckpt", weights="ema")

    done = subprocess.run(command(config, songs, killed, "--resume"), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    one, other = (load_checkpoint(folder / "last.ckpt", weights="ema").state for folder in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    logs = [[line.split(",") for line in (folder / "log.csv").read_text().splitlines()] for folder in (whole, killed)]
    assert len(logs[0]) == 7
    assert [line[:2] + line[3:] for line in logs[0]] == [line[:2] + line[3:] for line in logs[1]]


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([option]) == 0
    assert "--resume" in capsys.readouterr().out


def test_debug_shows_a_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    args = ["--config", "none.yaml", "--data", "x", "-o", "x"]
    assert exit_code([*args, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err

    def broken(name: str) -> None:
        raise ZeroDivisionError("for a test")

    monkeypatch.setattr("bsmamba2.training.settings.read_settings", broken)
    assert exit_code(args) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err and "ZeroDivisionError: for a test" in err and "--debug" in err
    assert exit_code([*args, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr() == (f"bsm-train {version('bsmamba2')}\n", "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--config", "demo", "-o", "out"], "Missing option '--data' (see bsm-train --help)"),
        (
            ["--config", "demo", "--data", "none", "-o", "out"],
            "none/train: not a folder: --data must hold train/<song>/",
        ),
        (["--config", "none.yaml", "--data", "none", "-o", "out"], "none.yaml: no such file"),
        (["--config", "demo", "--data", "none", "-o", "out", "--epochs", "0"], "Invalid value for '--epochs'"),
        (["--config", "demo", "--data", "none", "-o", "out", "--resume"], "out: has no last.ckpt"),
        (["--config", "demo", "--data", "none", "-o", "/dev/null"], "/dev/null"),
    ],
)
def test_a_mistake_is_one_line(
    args: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(args) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("bsm-train: ") and err.count("\n") == 1 and message in err, err
    assert not list(tmp_path.rglob("*.ckpt"))
