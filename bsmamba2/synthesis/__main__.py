"""Write synthetic songs to a folder, in the layout that bsm-train and bsm-eval read.

    python -m bsmamba2.synthesis DIR [--songs 60] [--seconds 30] [--seed 1000]

Writes DIR/song_1000/{vocals,drums,bass,other}.flac and so on, 24-bit. Existing songs are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import soundfile

from bsmamba2.synthesis.song import make_song


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path, help="output folder")
    parser.add_argument("--songs", type=int, default=60, help="number of songs (default: 60)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each song (default: 30)")
    parser.add_argument("--seed", type=int, default=1000, help="seed of the first song (default: 1000)")
    args = parser.parse_args()
    for seed in range(args.seed, args.seed + args.songs):
        folder = args.folder / f"song_{seed}"
        if folder.exists():
            continue
        song = make_song(args.seconds, seed=seed)
        beside = args.folder / f".song_{seed}"
        beside.mkdir(parents=True, exist_ok=True)
        for name, stem in song.stems.items():
            soundfile.write(beside / f"{name}.flac", stem.T, song.sample_rate, subtype="PCM_24")
        beside.rename(folder)
        print(folder, flush=True)


if __name__ == "__main__":
    main()
