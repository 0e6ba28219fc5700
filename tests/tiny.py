"""Networks small enough to be exported in seconds, and the frames they are exported for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from bsmamba2.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bsmamba2.config import ModelConfig, StftConfig
from bsmamba2.networks.model import BandSplitSeparator
from runtime.engine.manifest import Range

STFT = StftConfig(sample_rate=8000, n_fft=32, win_length=32, hop_length=10)
TINY = ModelConfig(dim=8, depth=1, bands=(2, 2, 5, 8), headdim=8, d_state=4, heads=2, dim_head=4, stft=STFT)
# A graph is traced for its frames; tests that use the same ones share it (traced_once.py).
FRAMES = Range(70, 70, 70)
LENGTHS = Range(20, 401, 641)  # chunks of 0.5 s, and up to 0.8 s


def tiny_checkpoint(folder: Path, **changes: object) -> Checkpoint:
    torch.manual_seed(0)
    path = folder / "tiny.safetensors"
    save_checkpoint(BandSplitSeparator(replace(TINY, **changes)), path)
    return load_checkpoint(path)
