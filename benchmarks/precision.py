"""What a narrower engine costs on real clips: SNR against float32 and the change of the SDR against the true vocals.

    python benchmarks/precision.py CLIPS/* [--ckpt demo]

Each folder holds mixture and vocals, as .flac or .wav. float32 and float16 are engines in ONNX Runtime on the CPU, by
bsm-export and bsm-run's own code; bfloat16, which ONNX Runtime lacks there, is the typed network in PyTorch on the same
chunks.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from bsmamba2.checkpoint import load_checkpoint
from export.engine import export_engine, only
from export.graph.to_onnx import prepared
from runtime.backends.fake import FakeBackend
from runtime.engine.reading import read_manifest
from runtime.evaluation.metrics import usdr
from runtime.separation.separator import Separator, open_separator

FRAMES = 801


def read(folder: Path, name: str) -> tuple[np.ndarray, int]:
    path = next(path for suffix in (".flac", ".wav") if (path := folder / f"{name}{suffix}").exists())
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return audio.T, rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--ckpt", default="demo")
    args = parser.parse_args()
    checkpoint = load_checkpoint(args.ckpt)
    with tempfile.TemporaryDirectory() as folder:
        separators = {}
        for precision in ("fp32", "fp16"):
            done = export_engine(checkpoint, Path(folder) / precision, frames=only(FRAMES), precision=precision)
            separators[precision] = open_separator(done.engine)
        typed = prepared(checkpoint.model(), only(FRAMES), "bf16", target="gpu")

        def run(mixture: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return typed(torch.from_numpy(mixture)).numpy()

        manifest = read_manifest(Path(folder) / "fp32.onnx")
        separators["bf16"] = Separator(FakeBackend(function=run), manifest)
        print("| clip | precision | SNR against fp32, dB | SDR of the vocals, dB | change of the SDR, dB |")
        print("| --- | --- | --- | --- | --- |")
        for clip in sorted(path for path in args.clips if path.is_dir()):
            mixture, rate = read(clip, "mixture")
            true, _ = read(clip, "vocals")
            vocals = {name: each.separate(mixture, rate)["vocals"] for name, each in separators.items()}
            reference = vocals["fp32"].astype(np.float64)
            for name, found in vocals.items():
                error = np.sum((found - reference) ** 2)
                snr = f"{10 * np.log10(np.sum(reference**2) / error):.1f}" if error else "-"
                sdr = usdr(true, found)
                change = sdr - usdr(true, vocals["fp32"])
                print(f"| {clip.name} | {name} | {snr} | {sdr:.3f} | {change:+.4f} |", flush=True)


if __name__ == "__main__":
    main()
