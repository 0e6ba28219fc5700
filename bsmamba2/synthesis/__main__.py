"""Write songs to a folder, laid out as bsm-train and bsm-eval read them.

    python -m bsmamba2.synthesis DIR [--songs 60] [--seconds 30] [--seed 1000]

Writes DIR/song_1000/{vocals,drums,bass,other}.flac and so on, 24 bit. Songs that are there are left alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import soundfile

from bsmamba2.synthesis.song import make_song


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1000, help="number of the first song")
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
