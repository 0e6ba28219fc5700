"""The PyTorch network computes what the official code computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_data import CASES, NAMES, arrays, network, relative_error, spectrum_out, wave_in, wave_out

from bsmamba2.config import ModelConfig
from bsmamba2.networks.layers import RMSNorm
from bsmamba2.networks.mamba2 import MambaBlock
from runtime.dsp.stft import Stft


def run(model: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("scan", ["chunked", pytest.param("sequential", marks=pytest.mark.seconds)])
@pytest.mark.parametrize("name", NAMES)
def test_network(name, scan):
    stft = Stft(2048, 441)
    out = run(network(name).use_scan(scan), stft.forward(wave_in(name)))
    reference, frames = spectrum_out(name)
    assert relative_error(out[:, :, frames], reference) <= CASES[name][1]
    assert relative_error(stft.inverse(out), wave_out(name)) <= CASES[name][1]


def test_every_stage_of_network_a():
    golden = arrays("a_mamba2_d32_L2_stereo_intermediates")
    model = network("a")
    seen = {}

    def keep(name):
        return lambda module, inputs, output: seen.__setitem__(name, output.numpy())

    model.band_split.register_forward_hook(keep("band_split"))
    model.final_norm.register_forward_hook(keep("final_norm"))
    model.mask_estimators[0].register_forward_hook(keep("mask_estimator0"))
    for i, layer in enumerate(model.layers):
        layer[0].register_forward_hook(keep(f"layer{i}_time"))
        layer[1].register_forward_hook(keep(f"layer{i}_freq"))
    run(model, Stft(2048, 441).forward(wave_in("a")))

    frames = golden["frames"]
    for name in ("band_split", "layer0_time", "layer0_freq", "layer1_time", "layer1_freq", "final_norm"):
        found = seen[name]
        if name.endswith("_time"):  # [k, t, d]
            found = found.transpose(1, 0, 2)
        found = found.reshape(1, -1, 62, 32)[:, frames]
        assert relative_error(found, golden[name]) <= 5e-6, name
    mask = seen["mask_estimator0"][:, frames].reshape(1, len(frames), -1)
    assert relative_error(mask, golden["mask_estimator0"]) <= 5e-6


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_bidirectional_block(number):
    golden = arrays("e_mambablock_d32")
    block = MambaBlock(ModelConfig(dim=32))
    block.load_state_dict({key[2:]: torch.from_numpy(v) for key, v in golden.items() if key.startswith("w/")})
    x = golden[f"x{number}"]
    assert relative_error(run(block, x), golden[f"y{number}"]) <= 5e-6
    if number == 4:  # only its result is recorded
        return
    ahead, back = block.forward_blocks[0], block.backward_blocks[0]
    flipped = torch.from_numpy(x).flip(1).numpy()
    assert relative_error(run(ahead, x) - x, golden[f"fwd_mixer{number}"]) <= 5e-6
    assert relative_error(run(back, flipped) - flipped, golden[f"bwd_mixer{number}"]) <= 5e-6


def test_norms_inside_the_block():
    golden = arrays("e_mambablock_d32")
    block = MambaBlock(ModelConfig(dim=32))
    block.load_state_dict({key[2:]: torch.from_numpy(v) for key, v in golden.items() if key.startswith("w/")})
    ahead = block.forward_blocks[0]
    normed = run(ahead.norm, golden["x2"])
    assert relative_error(normed, golden["fwd_norm2"]) <= 5e-6
    projected = run(ahead.mixer.in_proj, normed)
    assert relative_error(projected, golden["fwd_in_proj2"]) <= 5e-6
    gated = []
    ahead.mixer.norm.register_forward_hook(lambda module, inputs, output: gated.append(output.numpy()))
    run(ahead, golden["x2"])
    assert relative_error(gated[0], golden["fwd_gated_norm2"]) <= 5e-6


def test_rms_norm_down_to_zero():
    golden = arrays("x_rmsnorm")
    norm = RMSNorm(24)
    norm.gamma.data = torch.from_numpy(golden["gamma"])
    found = run(norm, golden["x"])
    for row, reference in zip(found, golden["y"], strict=True):
        assert np.abs(row - reference).max() <= 5e-6 * max(np.abs(reference).max(), 1e-30)
