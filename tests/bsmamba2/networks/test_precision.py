"""Narrow networks stay close to float32, and finite where float16 could overflow."""

from __future__ import annotations

import copy

import golden_data
import numpy as np
import pytest
import torch

from bsmamba2.errors import ConfigError
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.precision import DTYPES, to_precision
from runtime.dsp.stft import Stft

pytestmark = pytest.mark.seconds

STFT = Stft(2048, 441)
LEAST_SNR = {"fp16": 55.0, "bf16": 38.0}  # dB of the waveform against float32; measured: 56.9 and 38.9 at the least


def narrow(model: BandSplitSeparator, precision: str) -> BandSplitSeparator:
    model = copy.deepcopy(model)
    to_precision(model, precision)
    return model


def stems(model: BandSplitSeparator, mixture: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        out = model(torch.from_numpy(mixture))
    assert out.dtype == torch.float32
    return out.numpy()


@pytest.mark.seconds
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", golden_data.CASES)
def test_snr_against_float32_on_the_golden_networks(name, precision):
    model, mixture = golden_data.network(name), STFT.forward(golden_data.wave_in(name))
    reference = STFT.inverse(stems(model, mixture))
    error = STFT.inverse(stems(narrow(model, precision), mixture)) - reference
    snr = 10 * np.log10(np.sum(reference**2) / np.sum(error**2))
    assert LEAST_SNR[precision] <= snr < 80  # above 80 nothing would have been narrowed


def test_only_the_weights_of_products_are_narrow():
    model = narrow(golden_data.network("f"), "bf16")
    wide = {name.rsplit(".", 2)[-1] for name, p in model.named_parameters() if p.dtype == torch.float32}
    assert wide == {"gamma", "A_log", "dt_bias", "D", "freqs", "weight"}
    for name, parameter in model.named_parameters():
        if name.endswith(".weight"):
            assert (parameter.dtype == torch.float32) == (".norm." in name), name


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", ["a", "d"])
def test_hard_inputs_stay_finite(name, precision):
    model = narrow(golden_data.network(name), precision)
    samples = 13230
    square = np.sign(np.sin(2 * np.pi * 110 * np.arange(samples) / 44100)).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    for wave in (square, 1e4 * noise, 1e-6 * noise):
        out = stems(model, STFT.forward(np.stack([wave, -wave])[None]))
        assert np.isfinite(out).all() and out.any()
    assert not stems(model, STFT.forward(np.zeros((1, 2, samples), np.float32))).any()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_activations_of_ten_thousand_stay_finite(precision):
    """The residual stream passes 1e4, whose square alone is far beyond float16."""
    model = golden_data.network("a")
    for to_features in model.band_split.to_features:
        to_features[1].weight.data *= 1e3
    mixture = STFT.forward(golden_data.wave_in("a"))
    peaks = []
    for layer in model.layers:
        layer[1].register_forward_hook(lambda module, inputs, output: peaks.append(float(output.abs().max())))
    reference = stems(model, mixture)
    assert 1e4 < max(peaks) < 6e4
    found = stems(narrow(model, precision), mixture)
    assert np.isfinite(found).all()
    assert np.sum((found - reference) ** 2) < 0.01 * np.sum(reference**2)


def test_unknown_precisions_are_refused():
    with pytest.raises(ConfigError, match="precision 'int8': must be one of fp32, fp16, bf16"):
        to_precision(golden_data.network("a"), "int8")
