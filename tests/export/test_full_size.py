"""The published sizes, as they would be used: minutes and gigabytes, so only on request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from golden_data import SHARED_AUDIO

from bsmamba2.checkpoint import save_checkpoint
from bsmamba2.config import ModelConfig
from bsmamba2.networks.model import BandSplitSeparator

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("kind", "dim"), [("mamba2", 256), ("transformer", 384)])
def test_a_full_size_engine_separates_a_real_song(tmp_path: Path, kind: str, dim: int) -> None:
    song = SHARED_AUDIO / "clips" / "francium_1" / "mixture.flac"
    if not song.exists():
        pytest.skip(f"{song} is not here")
    torch.manual_seed(0)
    save_checkpoint(BandSplitSeparator(ModelConfig(kind=kind, dim=dim)), tmp_path / "full.safetensors")
    for command in (
        ["export.cli", "--ckpt", "full.safetensors", "-o", "full"],
        ["runtime.cli", "full.onnx", str(song), "--overlap", "0"],
    ):
        subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, check=True)
    mixture, rate = soundfile.read(song, dtype="float32")
    vocals, vocals_rate = soundfile.read(tmp_path / "separated" / "mixture_vocals.wav", dtype="float32")
    rest, _ = soundfile.read(tmp_path / "separated" / "mixture_instrumental.wav", dtype="float32")
    assert vocals.shape == mixture.shape and vocals_rate == rate
    assert np.isfinite(vocals).all() and vocals.any()
    np.testing.assert_allclose(vocals + rest, mixture, atol=1e-6)
