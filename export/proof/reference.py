"""PyTorch's results stage by stage, with its own STFT: the reference that `bsm-parity` compares with."""

from __future__ import annotations

import torch
from torch import Tensor

from bsmamba2.checkpoint import Checkpoint
from bsmamba2.networks.model import BandSplitSeparator, complex_product
from bsmamba2.networks.stft import inverse, spectrogram
from export.proof.pytorch import Float
from runtime.engine.manifest import sha256_of
from runtime.parity.reference import Reference


def reference_of(model: BandSplitSeparator, checkpoint: Checkpoint, waveform: Float) -> Reference:
    """Every stage of `model`, made from `checkpoint`, on `waveform` [1, c, samples]."""
    stft = model.config.stft
    layers = [f"layer_{i + 1}" for i in range(model.config.depth)]
    with torch.inference_mode():
        mixture = spectrogram(torch.from_numpy(waveform), stft)
        stages = dict(zip(("stems", "mask", "band_features", *layers), _stages(model, mixture), strict=True))
        waves = inverse(stages["stems"], stft)
    arrays = {"spectrogram": mixture, **stages, "stem_waveforms": waves}
    return Reference(
        checkpoint=sha256_of(checkpoint.path),
        weights=checkpoint.weights,
        arrays={"waveform": waveform, **{name: array.contiguous().numpy() for name, array in arrays.items()}},
    )


def _stages(model: BandSplitSeparator, mixture: Tensor) -> list[Tensor]:
    """`mixture` [b, t, f, c, 2] -> the stems, the masks, the band features and the output of every dual-path layer.

    In the order of `runtime.engine.manifest.probe_tensors`, after the stems.
    """
    features = model.band_split(mixture)
    layers = list(model.dual_path(features))
    masks = model.masks(layers[-1])
    return [complex_product(masks, mixture[:, None]), masks, features, *layers]
