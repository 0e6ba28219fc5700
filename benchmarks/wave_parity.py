"""Waveforms or spectrograms in and out: how far the stems of both forms are from each other, and from float64.

    python benchmarks/wave_parity.py

The golden networks of tests/golden, their own inputs, from song to stems through the runtime on the CPU; beside them
PyTorch in float32 with its own STFT. SNR in dB; float64 is the network and both transforms in PyTorch. About a minute.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from bsmamba2.networks.stft import inverse, spectrogram
from export.engine import export_engine, only
from export.proof.pytorch import pytorch_stems
from runtime import open_separator
from runtime.dsp.difference import difference

COLUMNS = ("both forms", "wave", "spectrum", "PyTorch")


def row(name: str, folder: Path) -> tuple[str, list[float]]:
    """Window and hop, and the figures of `COLUMNS`: the last three are distances from float64."""
    from test_wave_engine import golden

    checkpoint, waves = golden(name, folder)
    stft = checkpoint.config.stft
    frames = 1 + waves.shape[-1] // stft.hop_length
    song, stems = waves[0, :, : stft.hop_length * (frames - 1)].astype(np.float32), {}
    for io in ("spectrum", "wave"):
        done = export_engine(checkpoint, folder / io, frames=only(frames), io=io)
        with open_separator(done.engine, overlap=0.0) as separator:
            found = separator.separate(song, stft.sample_rate)
            stems[io] = np.stack([found[stem] for stem in done.manifest.stems])
    model = checkpoint.model()
    stems["PyTorch"] = pytorch_stems(model, song[None], "wave")[0]
    with torch.inference_mode():
        given = torch.from_numpy(song[None]).double()
        exact = inverse(model.double()(spectrogram(given, stft)), stft).numpy()[0]
    far = [difference(stems[io], exact).snr_db for io in ("wave", "spectrum", "PyTorch")]
    return f"{stft.n_fft} / {stft.hop_length}", [difference(stems["wave"], stems["spectrum"]).snr_db, *far]


def main() -> None:
    tests = Path(__file__).parents[1] / "tests"
    sys.path += [str(tests), str(tests / "export")]
    import golden_data
    import golden_roformer

    print("| network | n_fft / hop |", " | ".join(COLUMNS), "|")
    print("| --- | --- |", " | ".join("---" for _ in COLUMNS), "|")
    for name in (*golden_data.CASES, *golden_roformer.CASES):
        with tempfile.TemporaryDirectory() as folder:
            sizes, figures = row(name, Path(folder))
        print(f"| {name} | {sizes} |", " | ".join(f"{figure:.0f}" for figure in figures), "|", flush=True)


if __name__ == "__main__":
    main()
