"""Full-size networks for measurements, with weights drawn from a seed: the published sizes, without their weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bsmamba2.config import ModelConfig, StftConfig
from bsmamba2.networks.model import BandSplitSeparator

STEMS = ("bass", "drums", "other", "vocals", "guitar", "piano")


def _mel(**sizes: int) -> ModelConfig:
    from bsmamba2.checkpoint.mel_bands import mel_bands  # its package needs more than PyTorch

    stft = StftConfig()
    table = mel_bands(stft.sample_rate, stft.n_fft, 60)
    if table is None:
        raise ValueError("60 mel bands leave bins out")
    starts, bands = table
    return ModelConfig(
        kind="transformer", starts=starts, bands=bands, block_norm=True, mask_depth=3, dim_head=64, **sizes
    )


# name -> its configuration and the frames of a chunk, as published
NETWORKS: dict[str, tuple[Callable[[], ModelConfig], int]] = {
    "mamba2": (ModelConfig, 801),
    "transformer": (lambda: ModelConfig(kind="transformer", dim=384), 801),
    "mel-roformer-kim": (lambda: _mel(dim=384, depth=6), 801),
    "bs-roformer-317": (lambda: ModelConfig(kind="transformer", dim=512, depth=12, dim_head=64), 801),
    "bs-roformer-sw": (
        lambda: ModelConfig(
            kind="transformer", dim=256, depth=12, dim_head=64, stems=STEMS, stft=StftConfig(hop_length=512)
        ),
        1151,
    ),
}


def network(name: str) -> BandSplitSeparator:
    torch.manual_seed(0)
    return BandSplitSeparator(NETWORKS[name][0]()).eval()
