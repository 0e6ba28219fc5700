"""The PyTorch network computes what the BS-RoFormers and Mel-Band RoFormers of others compute."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_data import arrays, relative_error
from golden_roformer import CASES, FROM_WAVE, TOLERANCE, checkpoint, spectrum_out

from bsmamba2.config import ModelConfig, StftConfig
from bsmamba2.errors import ConfigError
from bsmamba2.networks.bands import OverlapMean, positions
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.stft import inverse, spectrogram


def run(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(x)


@pytest.mark.parametrize("name", CASES)
def test_network(name, tmp_path):
    read = checkpoint(name, tmp_path)
    model, stft = read.model(), read.config.stft
    wave = torch.from_numpy(arrays(name)["wave_in"])
    mixture = spectrogram(wave.double(), stft).float()  # as the original had it
    given = torch.from_numpy(np.stack([arrays(name)[f"spec_in_{part}"] for part in ("re", "im")], axis=-1))
    at = torch.from_numpy(arrays(name)["spec_in_frames"]).long()
    assert relative_error(mixture[:, at].numpy(), given.permute(0, 3, 2, 1, 4).numpy()) <= 1e-7
    reference, frames = spectrum_out(name)
    assert relative_error(run(model, mixture)[:, :, frames].numpy(), reference) <= TOLERANCE

    waves, expected = inverse(run(model, spectrogram(wave, stft)), stft).numpy(), arrays(name)["wave_out"]
    # Some of these codes also give the samples behind the last hop.
    assert 0 <= expected.shape[-1] - waves.shape[-1] < stft.hop_length
    assert relative_error(waves, expected[..., : waves.shape[-1]]) <= FROM_WAVE


def test_mixing_of_values_without_slices_is_that_with_them_recomputed(tmp_path):
    """Gradients flow through value residual and skip connections."""
    model = checkpoint("bs_value_residual_d24_L3", tmp_path).model()
    x = torch.randn(1, 12, 257, 2, 2)
    model(x).square().sum().backward()
    mix = model.layers[1][0].layers[0][0].to_value_residual_mix.weight
    first = model.layers[0][0].layers[0][0].to_qkv.weight
    assert mix.grad.abs().max() > 0 and first.grad.abs().max() > 0


def test_overlapping_masks_are_averaged_bin_by_bin():
    stft = StftConfig(sample_rate=8000, n_fft=16, win_length=16, hop_length=4)
    config = ModelConfig(bands=(4, 5, 7), starts=(0, 1, 2), stft=stft)
    masks = torch.randn(1, 1, 2, 16, 2, 2, dtype=torch.float64)
    mean = OverlapMean(positions(config), 9)(masks)
    for bin_ in range(9):
        of_bin = [i for i, each in enumerate(positions(config)) if each == bin_]
        assert len(of_bin) == (1, 2, 3, 3, 2, 2, 1, 1, 1)[bin_]
        torch.testing.assert_close(mean[:, :, :, bin_], masks[:, :, :, of_bin].mean(3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"starts": (0, 1)}, "the first bin of each sub-band"),
        ({"starts": (0, 5, 9)}, "not in order, or leave out bin 4"),
        ({"starts": (0, 1, 1), "bands": (4, 5, 2)}, "not in order"),
        ({"starts": (0, 1, 2), "bands": (4, 5, 6)}, "end at bin 7, but n_fft 16 has 9"),
        ({"zero_dc": 1}, "zero_dc is 1: expected true or false"),
        ({"kind": "mamba2", "pope": True}, "pope: only for networks of kind transformer"),
        ({"linear_depth": 1, "empty_slot": True}, "its place is empty"),
        ({"time_depth": 0}, "positive whole number"),
        ({"linear_depth": 65}, "at most 64"),
    ],
)
def test_impossible_networks_are_refused(changes, message):
    stft = StftConfig(sample_rate=8000, n_fft=16, win_length=16, hop_length=4)
    config = ModelConfig(kind="transformer", bands=(4, 5, 7), starts=(0, 1, 2), stft=stft)
    with pytest.raises(ConfigError, match=message):
        replace(config, **changes)


def test_a_configuration_is_written_and_read_again(tmp_path):
    config = checkpoint("mel60_2stems_md3_skip_dc_match_d16_L3", tmp_path).config
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with torch.device("meta"):
        assert "final_norm.gamma" not in BandSplitSeparator(config).state_dict()
