"""Export the demo network and separate a synthetic song: `python -m export.demo`, or `make demo`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import soundfile
from rich.console import Console
from rich.table import Table

from bsmamba2.synthesis import make_song
from runtime.evaluation.metrics import usdr

SONG = 7  # seed for `make_song`; the demo's weights were not trained on it
COMMANDS = {"bsm-export": "export.cli", "bsm-run": "runtime.cli"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m export.demo", description=__doc__)
    parser.add_argument("--engines", type=Path, default=Path("engines"), help="output folder for the engine")
    parser.add_argument("--output", type=Path, default=Path("separated"), help="output folder for the song and stems")
    args = parser.parse_args()

    song = make_song(seed=SONG)
    args.output.mkdir(parents=True, exist_ok=True)
    mixture = args.output / "demo_song.wav"
    truth = args.output / "demo_song_true_vocals.wav"
    soundfile.write(mixture, song.mixture.T, song.sample_rate, subtype="FLOAT")
    soundfile.write(truth, song.vocals.T, song.sample_rate, subtype="FLOAT")
    print(f"made a song of {song.mixture.shape[1] / song.sample_rate:.0f} s: {mixture}; its true vocals: {truth}")

    engine = args.engines / "demo.onnx"
    _run("bsm-export", "--ckpt", "demo", "-o", str(engine.with_suffix("")))
    _run("bsm-run", str(engine), str(mixture), "-o", str(args.output), "--overwrite")

    vocals, _ = soundfile.read(args.output / "demo_song_vocals.wav", dtype="float32", always_2d=True)
    table = Table("vocals of the demo song", "SDR, dB")
    table.add_row("before: the mixture", f"{usdr(song.vocals, song.mixture):.2f}")
    table.add_row("after: the separated vocals", f"{usdr(song.vocals, vocals.T):.2f}")
    Console().print(table)


def _run(command: str, *args: str) -> None:
    """Print a command as a user would type it, and run it with this Python."""
    print(f"\n$ {command} {' '.join(args)}", flush=True)
    code = subprocess.run([sys.executable, "-m", COMMANDS[command], *args], check=False).returncode  # noqa: S603
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
