"""Memory of a separation against the length of the song: the runtime's own, an engine's comes on top.

    python benchmarks/long_song.py ENGINE [--minutes 1 10 60]

Every length is a process of its own that separates a stereo song of noise from file to files as bsm-run does, around
half the identity in the place of the network: an engine takes what it takes for a chunk, whatever the song's length.
ENGINE is read for its sizes only. Needs 3 GB of disk for an hour.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from runtime.audio import Form, SongWriter
from runtime.backends.fake import FakeBackend
from runtime.engine.memory import peak_memory
from runtime.engine.reading import read_manifest
from runtime.separation.separator import Separator
from runtime.songs.separate import separate_file

RATE = 44100


def make_song(path: Path, minutes: float) -> None:
    rng = np.random.default_rng(0)
    with SongWriter(path, RATE, 2, Form("WAV", "PCM_16"), samples=int(minutes * 60) * RATE) as song:
        for _ in range(int(minutes * 60)):
            song.write(rng.uniform(-0.5, 0.5, (2, RATE)).astype(np.float32))


def separate(engine: Path, song: Path) -> None:
    """Print the seconds it takes and the process's peak memory in MB."""
    manifest = read_manifest(engine)
    separator = Separator(FakeBackend(), manifest)
    targets = {stem: song.with_name(f"{stem}.wav") for stem in separator.stems}
    report = separate_file(separator, song, targets)
    print(f"{report.wall:.1f} {(peak_memory() or 0) / 1e6:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--song", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.song:
        separate(args.engine, args.song)
        return
    print("| song, minutes | seconds | peak memory, MB |\n| --- | --- | --- |")
    for minutes in args.minutes:
        with tempfile.TemporaryDirectory() as folder:
            song = Path(folder) / "song.wav"
            make_song(song, minutes)
            command = [sys.executable, __file__, str(args.engine), "--song", str(song)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        seconds, peak = done.stdout.split()
        print(f"| {minutes:g} | {seconds} | {peak} |", flush=True)


if __name__ == "__main__":
    main()
