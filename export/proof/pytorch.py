"""What PyTorch computes from the test signal of the parity check."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.stft import inverse, spectrogram

Float = NDArray[np.float32]


def pytorch_stems(model: BandSplitSeparator, mixture: Float, io: str = "spectrum") -> Float:
    """[b, t, f, c, 2] -> [b, s, t, f, c, 2], or with PyTorch's own STFT [b, c, samples] -> [b, s, c, samples]."""
    with torch.inference_mode():
        given, stft = torch.from_numpy(mixture), model.config.stft
        stems = model(given) if io == "spectrum" else inverse(model(spectrogram(given, stft)), stft)
    out: Float = stems.numpy()
    return out
