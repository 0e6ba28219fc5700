"""Checkpoints of every published layout load."""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import types

import golden_data
import pytest
import torch
from official_files import lightning_file, msst_yaml

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from bsmamba2.config import ModelConfig, StftConfig
from bsmamba2.errors import ConfigError
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.scan import SCAN_CHUNK

pytestmark = pytest.mark.seconds

NAMES = list(golden_data.CASES)


def same(state, expected):
    return state.keys() == expected.keys() and all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_state_dict_tells_its_own_sizes(tmp_path, name):
    torch.save(golden_data.state(name), tmp_path / "x.ckpt")
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    unused = {"mamba2": ("heads", "dim_head"), "transformer": ("headdim",)}.get(checkpoint.config.kind, ())
    expected = golden_data.config(name)
    for field in vars(expected):
        if field not in unused:
            assert getattr(checkpoint.config, field) == getattr(expected, field), field
    assert same(checkpoint.state, golden_data.state(name))
    assert any("published values assumed: sample_rate 44100" in note for note in checkpoint.notes)
    assert not checkpoint.model().training


@pytest.mark.parametrize("name", ["a", "d", "f"])
def test_the_official_lightning_file(tmp_path, name):
    raw = lightning_file(tmp_path / "sota.ckpt", name)
    checkpoint = load_checkpoint(tmp_path / "sota.ckpt")
    assert checkpoint.layout == "Lightning"
    assert checkpoint.config.kind == golden_data.config(name).kind
    assert same(checkpoint.state, raw)
    averaged = load_checkpoint(tmp_path / "sota.ckpt", weights="ema")
    assert averaged.weights == "ema"
    assert same(averaged.state, {key: value + 1.0 for key, value in raw.items()})


@pytest.mark.seconds
def test_the_official_file_is_read_without_omegaconf(tmp_path):
    lightning_file(tmp_path / "sota.ckpt", "a")
    code = (
        "import sys; sys.modules['omegaconf'] = None\n"
        "from bsmamba2.checkpoint import load_checkpoint\n"
        f"c = load_checkpoint({str(tmp_path / 'sota.ckpt')!r}, weights='ema')\n"
        "print(c.config.kind, c.config.stft.win_length)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mamba2", "2048"]


def test_averaged_weights_of_trained_parameters_only(tmp_path):
    """An optimizer that was given only what is trained has no entry for the frozen rotary frequencies."""
    raw = lightning_file(tmp_path / "x.ckpt", "d")
    content = torch.load(tmp_path / "x.ckpt", weights_only=False)
    trained = [p.detach() + 2 for p in golden_data.network("d").parameters() if p.requires_grad]
    content["optimizer_states"][0]["ema"] = tuple(trained)
    torch.save(content, tmp_path / "x.ckpt")
    state = load_checkpoint(tmp_path / "x.ckpt", weights="ema").state
    assert torch.equal(state["final_norm.gamma"], raw["final_norm.gamma"] + 2)
    rotary = "layers.0.0.layers.0.0.rotary_embed.freqs"
    assert torch.equal(state[rotary], raw[rotary])


def test_msst_s_file_with_its_yaml(tmp_path):
    torch.save(golden_data.state("a"), tmp_path / "msst.ckpt")
    checkpoint = load_checkpoint(tmp_path / "msst.ckpt", msst_yaml(tmp_path / "msst.yaml", target="voice"))
    assert checkpoint.config.stems == ("voice",)
    assert checkpoint.config.dim == 32
    assert not any("published" in note for note in checkpoint.notes)


@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
def test_prefixes_of_parallel_and_compiled_networks(tmp_path, prefix):
    torch.save({"state": {prefix + key: value for key, value in golden_data.state("a").items()}}, tmp_path / "x.pt")
    assert same(load_checkpoint(tmp_path / "x.pt").state, golden_data.state("a"))


def test_the_format_before_pytorch_1_6(tmp_path):
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt", _use_new_zipfile_serialization=False)
    assert same(load_checkpoint(tmp_path / "x.ckpt").state, golden_data.state("a"))


@pytest.mark.parametrize("name", NAMES)
def test_our_own_format_keeps_weights_and_configuration(tmp_path, name):
    model = golden_data.network(name)
    save_checkpoint(model, tmp_path / "x.safetensors")
    checkpoint = load_checkpoint(tmp_path / "x.safetensors")
    assert checkpoint.config == model.config
    assert same(checkpoint.state, dict(model.state_dict()))


def test_half_precision_is_widened(tmp_path):
    save_checkpoint(golden_data.network("a"), tmp_path / "x.safetensors", dtype=torch.float16)
    state = load_checkpoint(tmp_path / "x.safetensors").state
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_four_stems_get_names(tmp_path):
    config = ModelConfig(dim=16, depth=1, stems=("a", "b", "c", "d"))
    torch.save(BandSplitSeparator(config).state_dict(), tmp_path / "x.ckpt")
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    assert checkpoint.config.stems == ("stem_1", "stem_2", "stem_3", "stem_4")


def test_the_demo_checkpoint_is_found_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = load_checkpoint("demo")
    assert checkpoint.config.stft.n_fft == 2048 and len(checkpoint.config.bands) == 62
    assert checkpoint.path.stat().st_size < 12e6


def test_a_yaml_overrides_only_what_it_says(tmp_path):
    stft = StftConfig(sample_rate=8000, n_fft=2048, win_length=2048, hop_length=512)
    model = BandSplitSeparator(ModelConfig(dim=16, depth=1, stems=("drums",), stft=stft))
    save_checkpoint(model, tmp_path / "x.safetensors")
    (tmp_path / "x.yaml").write_text("model: {stft_hop_length: 441}")
    checkpoint = load_checkpoint(tmp_path / "x.safetensors", tmp_path / "x.yaml")
    assert checkpoint.config.stems == ("drums",)
    assert checkpoint.config.stft == StftConfig(sample_rate=8000)
    assert not any("published" in note for note in checkpoint.notes)


def test_entries_of_the_training_beside_the_network_are_ignored(tmp_path):
    state = {f"model.{key}": value for key, value in golden_data.state("a").items()}
    state |= {f"ema_model.{key}": value + 1 for key, value in golden_data.state("a").items()}
    state["val_sdr.sum"] = torch.zeros(())
    torch.save({"state_dict": state}, tmp_path / "x.ckpt")
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    assert same(checkpoint.state, golden_data.state("a"))
    assert any("516 entries besides the network ignored: ema_model." in note for note in checkpoint.notes)


def test_odd_but_honest_objects_in_a_lightning_file_are_read(tmp_path, monkeypatch):
    class AttributeDict(dict):
        pass

    AttributeDict.__module__, AttributeDict.__qualname__ = "lightning_fabric", "AttributeDict"
    module = types.ModuleType("lightning_fabric")
    module.AttributeDict = AttributeDict
    monkeypatch.setitem(sys.modules, module.__name__, module)
    hyper_parameters = AttributeDict(
        model={"dim": 32}, started=datetime.datetime(2026, 1, 1), args=argparse.Namespace(gpus=2)
    )
    torch.save({"state_dict": golden_data.state("a"), "hyper_parameters": hyper_parameters}, tmp_path / "x.ckpt")
    monkeypatch.delitem(sys.modules, module.__name__)
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    assert checkpoint.config.dim == 32
    assert any("its hyper_parameters" in note for note in checkpoint.notes)


def test_long_songs_cross_scan_chunks():
    """Golden case b is what proves the state is handed on: it must be longer than a chunk of the scan."""
    assert 1 + golden_data.wave_in("b").shape[-1] // 441 > 2 * SCAN_CHUNK


@pytest.mark.parametrize(
    ("training", "stems", "note"),
    [
        (
            "{target_instrument: Vocals, instruments: [Vocals, Instrumental]}",
            ("vocals",),
            "as files have them: vocals",
        ),
        ("{target_instrument: INSTRUMENTAL}", ("instrumental",), "as files have them: instrumental"),
        (
            "{instruments: [Vocals, Instrumental]}",
            ("vocals",),
            "no target_instrument.*: using Vocals",
        ),
        ("{}", ("vocals",), "not stated, .*stem vocals"),
    ],
)
def test_stem_names_are_in_lower_case_and_a_note_says_so(tmp_path, training, stems, note):
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_text(f"model: {{dim: 32}}\ntraining: {training}\n")
    checkpoint = load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml")
    assert checkpoint.config.stems == stems
    assert any(re.search(note, each) for each in checkpoint.notes), checkpoint.notes
    (tmp_path / "x.yaml").write_text("model: {dim: 32}\ntraining: {target_instrument: vocals}\n")
    assert not any("as files have" in note for note in load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml").notes)


def test_stems_that_differ_in_case_only_are_refused():
    with pytest.raises(ConfigError, match="each only once"):
        ModelConfig(stems=("Vocals", "vocals"))
