"""Checkpoints of every published layout load; those that are wrong or hostile are refused in words."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pickle
import struct
import subprocess
import sys
import types
import zipfile
from itertools import pairwise
from pathlib import Path

import golden_data
import pytest
import torch
from official_files import lightning_file

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from bsmamba2.config import ModelConfig, StftConfig
from bsmamba2.errors import BsmambaError, CheckpointError, ConfigError
from bsmamba2.model import BandSplitSeparator
from bsmamba2.scan import SCAN_CHUNK

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
    assert any("published values taken: sample_rate 44100" in note for note in checkpoint.notes)
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


MSST_YAML = """
audio:
  chunk_size: 352800
  sample_rate: 44100
model:
  dim: 32
  depth: 2
  stereo: true
  num_stems: 1
  freqs_per_bands: !!python/tuple
{bands}
  dim_head: 64
  heads: 8
  stft_n_fft: 2048
  stft_hop_length: 441
  stft_win_length: 2048
  stft_normalized: false
  mask_estimator_depth: 2
training:
  instruments: [vocals, other]
  target_instrument: {target}
"""


def msst_yaml(path: Path, target: str = "vocals") -> Path:
    bands = "\n".join(f"    - {bins}" for bins in golden_data.config("a").bands)
    path.write_text(MSST_YAML.format(bands=bands, target=target))
    return path


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
    assert any("516 entries beside the network ignored: ema_model." in note for note in checkpoint.notes)


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


# --- hostile files


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


class Sneaky(Malicious):
    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({self.marker!r})",)


class Getter(Malicious):
    def __reduce__(self):
        return getattr, (torch.Tensor, "numpy")


@pytest.mark.parametrize("hostile", [Malicious, Sneaky, Getter])
@pytest.mark.parametrize("where", ["state_dict", "beside", "hyper_parameters"])
@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_that_tries_to_run_code_is_refused(tmp_path, hostile, where, new):
    marker = tmp_path / "owned"
    content = {"state_dict": golden_data.state("a")}
    bomb = hostile(str(marker))
    if where == "state_dict":
        content["state_dict"]["final_norm.gamma"] = bomb
    else:
        content[where] = bomb
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=new)
    with pytest.raises(
        CheckpointError, match="refused, nothing was executed: reading it would call .*(mkdir|eval|getattr)"
    ):
        load_checkpoint(tmp_path / "x.ckpt")
    assert not marker.exists()


def test_a_bare_pickle_is_refused(tmp_path):
    marker = tmp_path / "owned"
    (tmp_path / "x.ckpt").write_bytes(pickle.dumps(Malicious(str(marker)), protocol=2))
    with pytest.raises(CheckpointError, match="refused|damaged"):
        load_checkpoint(tmp_path / "x.ckpt")
    assert not marker.exists()


def test_a_yaml_that_tries_to_run_code_is_refused(tmp_path):
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    marker = tmp_path / "owned"
    (tmp_path / "x.yaml").write_text(f"model:\n  dim: !!python/object/apply:os.mkdir ['{marker}']\n")
    with pytest.raises(ConfigError, match="x.yaml, line 2: not a readable configuration"):
        load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml")
    assert not marker.exists()


# --- files that are wrong


def damaged_files(folder: Path):
    torch.save(golden_data.state("a"), folder / "good.ckpt")
    good = (folder / "good.ckpt").read_bytes()
    save_checkpoint(golden_data.network("a"), folder / "good.safetensors")
    tensors = (folder / "good.safetensors").read_bytes()
    yield "empty", b"", "an empty file"
    yield "text", b"not a checkpoint at all", "starts with b'not a ch'"
    yield "cut zip", good[: len(good) // 2], "damaged or not a checkpoint"
    yield "cut safetensors", tensors[: len(tensors) // 2], "damaged safetensors"
    yield "huge header", struct.pack("<Q", 1 << 62) + b"{}", "damaged safetensors"
    yield "cut pickle", pickle.dumps({"a": 1}, protocol=2)[:-4], "damaged or not a checkpoint"
    yield "list", pickle.dumps([1, 2], protocol=2), "damaged or not a checkpoint|expected a dict"


def test_damaged_files_are_refused(tmp_path):
    for name, content, message in damaged_files(tmp_path):
        path = tmp_path / f"{name}.ckpt"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path)


def test_absent_files_folders_and_foreign_archives(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.ckpt: cannot be read \(No such file"):
        load_checkpoint(tmp_path / "nowhere.ckpt")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint(tmp_path)
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load_checkpoint(tmp_path / "x.ckpt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "y.ckpt")
    with pytest.raises(CheckpointError, match="not a checkpoint of BSMamba2 or BS-RoFormer"):
        load_checkpoint(tmp_path / "y.ckpt")


def test_one_error_lists_missing_extra_and_misshapen_keys(tmp_path):
    state = golden_data.state("a")
    del state["layers.0.0.linear.bias"]
    state["layers.0.0.bonus"] = torch.zeros(3)
    state["final_norm.gamma"] = torch.zeros(7)
    torch.save(state, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "x.ckpt")
    message = str(caught.value)
    assert "1 missing:\n    layers.0.0.linear.bias [32]" in message
    assert "1 not expected:\n    layers.0.0.bonus [3]" in message
    assert "1 of another shape:\n    final_norm.gamma: expected [32], found [7]" in message
    assert "likeliest cause: " in message


def test_the_likeliest_cause_is_named(tmp_path):
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    yaml = msst_yaml(tmp_path / "x.yaml")
    yaml.write_text(yaml.read_text().replace("dim: 32", "dim: 64"))
    with pytest.raises(CheckpointError, match="dim 64 in the configuration, 32 in the tensors") as caught:
        load_checkpoint(tmp_path / "x.ckpt", yaml)
    assert "... and " in str(caught.value)
    state = golden_data.state("a")
    torch.save({k: v for k, v in state.items() if not k.startswith("layers.1.1.linear")}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="the file is incomplete"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_what_does_not_fit_is_refused(tmp_path):
    torch.save({**golden_data.state("a"), "final_norm.gamma": torch.full((32,), torch.nan)}, tmp_path / "nan.ckpt")
    with pytest.raises(CheckpointError, match=r"final_norm\.gamma holds NaN, Inf"):
        load_checkpoint(tmp_path / "nan.ckpt")
    torch.save({**golden_data.state("a"), "final_norm.gamma": torch.ones(32, dtype=torch.int8)}, tmp_path / "i.ckpt")
    with pytest.raises(CheckpointError, match="expected floating-point numbers"):
        load_checkpoint(tmp_path / "i.ckpt")
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="no averaged weights .* use --weights raw"):
        load_checkpoint(tmp_path / "x.ckpt", weights="ema")
    with pytest.raises(ConfigError, match="expected 'raw' or 'ema'"):
        load_checkpoint(tmp_path / "x.ckpt", weights="both")


# Ten lists of ten aliases each: ten thousand million items, if anything were to expand them.
BOMB = "\n".join(
    [f"a: &a [{', '.join(['1'] * 10)}]"] + [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise("abcdefgh")]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: 3", "expected a yaml file with a `model:` section"),
        ("model: {dim: 32", "not a readable configuration"),
        ("model: {mamba_gmlp: true}", "model.mamba_gmlp is True: only False is supported"),
        ("model: {freqs_per_bands: [a]}", "expected a list of whole numbers"),
        ("model: {module_type: lstm}", "module type 'lstm' is not known"),
        ("model: {stft_hop_length: long}", "hop_length is 'long': expected a whole number"),
        ("model: {}\naudio: {sample_rate: '48000'}", "sample_rate is '48000': expected a whole number"),
        ("model: {}\naudio: {sample_rate: 48000.0}", "sample_rate is '48000.0': expected a whole number"),
        ("model: {}\naudio: {sample_rate: 500}", "expected 1000 to 384000 Hz"),
        ("model: {stft_n_fft: 2048}\naudio: {n_fft: 4096}", "n_fft is 4096 in one place and 2048 in another"),
        ("model: {stereo: 'no'}", "model.stereo is no: expected true or false"),
        ("model: {skip_connection: true}", "model.skip_connection is True: only False is supported"),
        ("model: {time_transformer_depth: 2}", "only 1 is supported"),
        ("model: {stft_normalized: true}", "only False is supported"),
        ("model: {}\ntraining: {instruments: [1, 2]}", "expected names of stems"),
        ("model: {}\ntraining: {target_instrument: ../../x}", "files are named after them"),
        ("model: {depth: 100000000}", "depth is 100000000: expected at most 128"),
        ("model: {mask_estimator_depth: 100000}", "mask_depth is 100000: expected at most 16"),
        ("model: {dim: 1" + "0" * 30 + "}", "dim is 10000.*: expected at most 8192"),
        ("model: {attn_dropout: 7}", "attn_dropout is 7: expected a number from 0 to 1"),
        ("model: {dim: !!int ''}", "not a readable configuration"),
        ("model: {dim: !!timestamp abc}", "not a readable configuration"),
        (f"{BOMB}\nmodel: {{freqs_per_bands: *h}}", "expected a list of whole numbers"),
        (f"{BOMB}\nmodel: {{dim: *h}}", "dim is a list: expected a positive whole number"),
        ("model: {stft_n_fft: 4096}", "expected 4098 .mono. or 8196 .stereo. for 2049 bins"),
    ],
)
def test_unsupported_yaml_is_refused(tmp_path, text, message):
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(BsmambaError, match=message):
        load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml")


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"dim": -1}), json.dumps({"bonus": 1})])
def test_unreadable_metadata_is_refused(tmp_path, text):
    from safetensors.torch import save_file

    save_file(golden_data.state("a"), tmp_path / "x.safetensors", metadata={"bsmamba2.config": text})
    with pytest.raises(BsmambaError):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize("shape", ["nested", "itself", "interpolated"])
def test_hyper_parameters_that_unfold_without_end_are_refused(tmp_path, shape):
    value: list = [1]
    if shape == "nested":
        for _ in range(40):
            value = [value, value]
    elif shape == "itself":
        value.append(value)
    hyper_parameters = {"model": {"dim": 32}, "x": value}
    if shape == "interpolated":
        hyper_parameters |= {"a": ["${b}"] * 50, "b": ["${a}"] * 50}
        torch.save({"state_dict": golden_data.state("a"), "hyper_parameters": hyper_parameters}, tmp_path / "x.ckpt")
        assert load_checkpoint(tmp_path / "x.ckpt").config.dim == 32
        return
    torch.save({"state_dict": golden_data.state("a"), "hyper_parameters": hyper_parameters}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="too large or too deep for a configuration"):
        load_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    "odd",
    [
        torch.ones(32).to_sparse(),
        torch.empty(32, device="meta"),
        torch.ones(32).to(torch.float8_e4m3fn),
        torch.full((32,), 1e300, dtype=torch.float64),
        torch.ones(32, dtype=torch.complex64),
    ],
    ids=["sparse", "meta", "float8", "beyond float32", "complex"],
)
def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path, odd):
    torch.save({**golden_data.state("a"), "final_norm.gamma": odd}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"final_norm\.gamma holds|damaged or not a checkpoint"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_empty_tensors_are_refused(tmp_path):
    state = golden_data.state("a")
    for key in list(state):
        if key.startswith("band_split.") and key.endswith("1.weight"):
            state[key] = torch.zeros(0, 8)
    torch.save(state, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="is empty: expected the parameters of a trained network"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_long_songs_cross_scan_chunks():
    """Golden case b is what proves the state is handed on: it must be longer than a chunk of the scan."""
    assert 1 + golden_data.wave_in("b").shape[-1] // 441 > 2 * SCAN_CHUNK
