"""Train the demo weights again, in the same way.

    python -m bsmamba2.demo SONGS OUT [--recipe demo|demo_roformer] [--threads 1]

SONGS contains train/<song>/ and valid/<song>/, each with vocals and accompaniment. OUT gets the synthetic songs
(songs/), the training (training_<recipe>/, which a second call continues), the weights and their log
(<recipe>.safetensors, <recipe>.csv).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

MADE = ("--songs", "90", "--seconds", "30", "--seed", "1000")
# Without these settings glibc returns large blocks to the system and allocates them again in every step.
KEEP_MEMORY = ":".join(
    f"glibc.malloc.{setting}"
    for setting in (
        "mmap_threshold=4294967296",
        "trim_threshold=17179869184",
        "top_pad=268435456",
        "arena_max=1",
        "hugetlb=1",
    )
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bsmamba2.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", metavar="SONGS", type=Path, help="folder with train/ and valid/")
    parser.add_argument("output", metavar="OUT", type=Path, help="output folder")
    parser.add_argument("--recipe", choices=("demo", "demo_roformer"), default="demo", help="default: demo")
    parser.add_argument("--threads", default="1", help="CPU threads (default: 1)")
    args = parser.parse_args()

    made, training = args.output / "songs", args.output / f"training_{args.recipe}"
    _run("bsmamba2.synthesis", str(made / "train"), *MADE)
    goes_on = ["--resume"] if (training / "last.ckpt").exists() else []
    data = ("--data", str(args.songs), "--data", str(made))
    where = ("-o", str(training), "--accelerator", "cpu", "--threads", args.threads, "--workers", "1", "--compile")
    _run("bsmamba2.training.cli", "--config", args.recipe, *data, *where, *goes_on)

    import torch

    from bsmamba2.checkpoint import load_checkpoint, save_checkpoint

    weights = args.output / f"{args.recipe}.safetensors"
    save_checkpoint(load_checkpoint(training / "weights.safetensors").model(), weights, dtype=torch.float16)
    shutil.copyfile(training / "log.csv", args.output / f"{args.recipe}.csv")
    print(f"wrote {weights} and {weights.with_suffix('.csv')}")


def _run(module: str, *args: str) -> None:
    print(f"$ python -m {module} {' '.join(args)}", flush=True)
    environment = {"GLIBC_TUNABLES": KEEP_MEMORY, **os.environ}
    code = subprocess.run([sys.executable, "-m", module, *args], env=environment, check=False).returncode  # noqa: S603
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
