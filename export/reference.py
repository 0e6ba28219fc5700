"""What PyTorch makes of a waveform, stage by stage, with its own STFT: the reference `bsm-parity` compares with."""

from __future__ import annotations

import torch
from torch import Tensor

from bsmamba2.checkpoint import Checkpoint
from bsmamba2.config import StftConfig
from bsmamba2.model import BandSplitSeparator
from export.probed import Probed
from export.record import Float
from runtime.manifest import sha256_of
from runtime.reference import Reference


def reference_of(model: BandSplitSeparator, checkpoint: Checkpoint, waveform: Float) -> Reference:
    """Every stage of `model`, made from `checkpoint`, on `waveform` [1, c, samples]."""
    stft = model.config.stft
    layers = [f"layer_{i + 1}" for i in range(model.config.depth)]
    with torch.inference_mode():
        mixture = spectrogram(torch.from_numpy(waveform), stft)
        stages = dict(zip(("stems", "mask", "band_features", *layers), Probed(model)(mixture), strict=True))
        waves = inverse(stages["stems"], stft)
    arrays = {"spectrogram": mixture, **stages, "stem_waveforms": waves}
    return Reference(
        checkpoint=sha256_of(checkpoint.path),
        weights=checkpoint.weights,
        arrays={"waveform": waveform, **{name: array.contiguous().numpy() for name, array in arrays.items()}},
    )


def spectrogram(wave: Tensor, stft: StftConfig) -> Tensor:
    """[b, c, samples] -> [b, t, f, c, 2] by torch.stft."""
    window = torch.hann_window(stft.win_length)
    flat = torch.stft(
        wave.flatten(0, 1),
        stft.n_fft,
        stft.hop_length,
        window=window,
        center=True,
        pad_mode=stft.pad_mode,
        return_complex=True,
    )  # [b * c, f, t]
    return torch.view_as_real(flat.unflatten(0, wave.shape[:2]).permute(0, 3, 2, 1))


def inverse(stems: Tensor, stft: StftConfig) -> Tensor:
    """[b, s, t, f, c, 2] -> [b, s, c, hop_length * (t - 1)] by torch.istft."""
    spectra = torch.view_as_complex(stems.contiguous()).permute(0, 1, 4, 3, 2)  # [b, s, c, f, t]
    window = torch.hann_window(stft.win_length)
    waves = torch.istft(spectra.flatten(0, 2), stft.n_fft, stft.hop_length, window=window, center=True)
    return waves.unflatten(0, spectra.shape[:3])
