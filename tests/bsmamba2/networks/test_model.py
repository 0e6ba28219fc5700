"""Names, shapes and sizes of the network, and what it refuses to be."""

from __future__ import annotations

import json

import pytest
import torch
from golden_data import FOLDER
from hypothesis import given, settings
from hypothesis import strategies as st

from bsmamba2.config import KINDS, ModelConfig, StftConfig
from bsmamba2.errors import ConfigError, ScanError
from bsmamba2.networks.model import BandSplitSeparator, complex_product
from bsmamba2.networks.scan import sequential_scan

SMALL_STFT = StftConfig(sample_rate=8000, n_fft=32, win_length=32, hop_length=10)
SMALL = ModelConfig(dim=8, depth=1, bands=(2, 2, 5, 8), headdim=8, d_state=4, heads=2, dim_head=4, stft=SMALL_STFT)


@pytest.mark.parametrize(
    ("config", "keys", "parameters"),
    [
        (ModelConfig(), 675, 48_098_188),
        (ModelConfig(kind="transformer", dim=384), 567, 72_173_340),
    ],
)
def test_published_sizes_have_the_official_names_order_and_shapes(config, keys, parameters):
    official = json.loads((FOLDER / "official_state_dict.json").read_text())[config.kind]["state_dict"]
    with torch.device("meta"):
        model = BandSplitSeparator(config)
    found = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert found == official
    assert list(found) == list(official)
    assert len(found) == keys
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@settings(deadline=None, max_examples=25)
@given(
    kind=st.sampled_from(KINDS),
    channels=st.sampled_from([1, 2]),
    stems=st.integers(1, 4),
    depth=st.integers(1, 2),
    bands=st.sampled_from([(17,), (1, 16), (2, 2, 5, 8), (1,) * 17]),
    mask_depth=st.integers(1, 3),
    batch=st.integers(1, 2),
    frames=st.integers(1, 5),
)
def test_any_size_gives_the_contract_s_shape(kind, channels, stems, depth, bands, mask_depth, batch, frames):
    config = ModelConfig(
        **{
            **SMALL.__dict__,
            "kind": kind,
            "channels": channels,
            "stems": tuple(f"stem{i}" for i in range(stems)),
            "depth": depth,
            "bands": bands,
            "mask_depth": mask_depth,
        }
    )
    mixture = torch.randn(batch, frames, 17, channels, 2)
    with torch.no_grad():
        out = BandSplitSeparator(config)(mixture)
    assert out.shape == (batch, stems, frames, 17, channels, 2)
    assert torch.isfinite(out).all()
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_silence_stays_silent_and_trains():
    model = BandSplitSeparator(SMALL)
    assert not model(torch.zeros(1, 6, 17, 2, 2)).any()
    model(torch.randn(1, 6, 17, 2, 2)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters() if p.requires_grad)


def test_items_of_a_batch_do_not_meet():
    model = BandSplitSeparator(SMALL).double()
    mixture = torch.randn(3, 9, 17, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        alone = torch.cat([model(item[None]) for item in mixture])
        torch.testing.assert_close(model(mixture), alone, rtol=0, atol=1e-12)


def test_complex_product_is_torch_s():
    a, b = torch.randn(2, 3, 4, 2, dtype=torch.float64)
    expected = torch.view_as_real(torch.view_as_complex(a) * torch.view_as_complex(b))
    torch.testing.assert_close(complex_product(a, b), expected)


def test_choosing_a_scan_reaches_every_mixer_or_none():
    model = BandSplitSeparator(SMALL)
    model.use_scan("sequential")
    assert {m.form.scan for m in model.modules() if hasattr(m, "form")} == {sequential_scan}
    with pytest.raises(ScanError):
        model.use_scan("fast")
    assert {m.form.scan for m in model.modules() if hasattr(m, "form")} == {sequential_scan}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "lstm"}, "expected one of mamba2, transformer, mamba2-roformer"),
        ({"dim": 0}, "dim is 0: expected a positive whole number"),
        ({"dim": "256"}, "dim is '256'"),
        ({"channels": 6}, "expected 1 .mono. or 2 .stereo."),
        ({"stems": ()}, "at least one name"),
        ({"stems": ("vocals", "vocals")}, "each only once"),
        ({"bands": (1025, 1)}, "have 1026 bins in total, but n_fft 2048 has 1025"),
        ({"bands": (1025, 0)}, "a positive number of bins"),
        ({"headdim": 48}, "not a multiple of headdim 48"),
        ({"kind": "transformer", "dim_head": 7}, "rotary embedding needs an even number"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fft": 2047, "win_length": 2047}, "expected an even n_fft"),
        ({"win_length": 4096}, "a win_length of at most n_fft"),
        ({"hop_length": 2048}, "at most half of win_length"),
        ({"hop_length": 0}, "positive whole number"),
        ({"window": "hamming"}, "expected 'hann'"),
        ({"center": False}, "expected True"),
    ],
)
def test_impossible_spectrograms_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        StftConfig(**change)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"dims": 3}, "config key 'dims' is unknown"),
        ({"dim": "3"}, "config key 'dim' is '3': expected int"),
        ({"dim": True}, "config key 'dim' is True"),
        ({"stems": "vocals"}, "config key 'stems'"),
        ({"stft": 3}, "config key 'stft' is 3"),
        ({"stft": {"hop": 1}}, "config key 'hop' is unknown"),
    ],
)
def test_unreadable_configurations_are_refused(data, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(data)
