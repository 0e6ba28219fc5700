"""Checkpoints that are hostile, damaged or of another network are refused in words, and nothing of them is executed."""

from __future__ import annotations

import json
import os
import pickle
import struct
from itertools import pairwise
from pathlib import Path

import golden_data
import pytest
import torch
from official_files import msst_yaml

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from bsmamba2.errors import BsmambaError, CheckpointError, ConfigError

pytestmark = pytest.mark.seconds


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
    with pytest.raises(CheckpointError, match="nothing was executed.*(mkdir|eval|getattr)"):
        load_checkpoint(tmp_path / "x.ckpt")
    assert not marker.exists()


def test_a_bare_pickle_is_refused(tmp_path):
    marker = tmp_path / "owned"
    (tmp_path / "x.ckpt").write_bytes(pickle.dumps(Malicious(str(marker)), protocol=2))
    with pytest.raises(CheckpointError, match="plain pickle"):
        load_checkpoint(tmp_path / "x.ckpt")
    assert not marker.exists()


def test_a_yaml_that_tries_to_run_code_is_refused(tmp_path):
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    marker = tmp_path / "owned"
    (tmp_path / "x.yaml").write_text(f"model:\n  dim: !!python/object/apply:os.mkdir ['{marker}']\n")
    with pytest.raises(ConfigError, match="x.yaml, line 2: not a valid yaml configuration"):
        load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml")
    assert not marker.exists()


# --- files that are wrong


def damaged_files(folder: Path):
    torch.save(golden_data.state("a"), folder / "good.ckpt")
    good = (folder / "good.ckpt").read_bytes()
    save_checkpoint(golden_data.network("a"), folder / "good.safetensors")
    tensors = (folder / "good.safetensors").read_bytes()
    torch.save(golden_data.state("a"), folder / "old.ckpt", _use_new_zipfile_serialization=False)
    old = (folder / "old.ckpt").read_bytes()
    torch.save([1, 2], folder / "list.ckpt")
    yield "cut zip", good[: len(good) // 2], "damaged or incomplete.*download"
    yield "cut old format", old[: len(old) // 2], "damaged or incomplete.*download"
    yield "cut safetensors", tensors[: len(tensors) // 2], "damaged or incomplete.*download"
    yield "huge header", struct.pack("<Q", 1 << 62) + b"{}", "damaged or incomplete.*download"
    yield "list", (folder / "list.ckpt").read_bytes(), "a list: expected a dict"


def test_damaged_files_are_refused(tmp_path):
    for name, content, message in damaged_files(tmp_path):
        path = tmp_path / f"{name}.ckpt"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message) as caught:
            load_checkpoint(path)
        assert "likelihood" not in str(caught.value)  # PyTorch's advice, cut in the middle of a sentence


def test_absent_files_folders_and_other_networks(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.ckpt: cannot be read \(No such file"):
        load_checkpoint(tmp_path / "nowhere.ckpt")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint(tmp_path)
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
    assert "1 unexpected:\n    layers.0.0.bonus [3]" in message
    assert "1 of the wrong shape:\n    final_norm.gamma: expected [32], found [7]" in message
    assert "most likely cause: " in message


def test_the_likeliest_cause_is_named(tmp_path):
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    yaml = msst_yaml(tmp_path / "x.yaml")
    yaml.write_text(yaml.read_text().replace("dim: 32", "dim: 64"))
    with pytest.raises(ConfigError, match="model.dim is 64, the tensors have 32"):
        load_checkpoint(tmp_path / "x.ckpt", yaml)
    state = golden_data.state("a")
    torch.save({k: v for k, v in state.items() if not k.startswith("layers.1.1.linear")}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="the file is incomplete"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_what_does_not_fit_is_refused(tmp_path):
    torch.save({**golden_data.state("a"), "final_norm.gamma": torch.full((32,), torch.nan)}, tmp_path / "nan.ckpt")
    with pytest.raises(CheckpointError, match=r"final_norm\.gamma contains NaN, Inf"):
        load_checkpoint(tmp_path / "nan.ckpt")
    torch.save({**golden_data.state("a"), "final_norm.gamma": torch.ones(32, dtype=torch.int8)}, tmp_path / "i.ckpt")
    with pytest.raises(CheckpointError, match="expected floating-point numbers"):
        load_checkpoint(tmp_path / "i.ckpt")
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="no averaged weights.* use --weights raw"):
        load_checkpoint(tmp_path / "x.ckpt", weights="ema")


# Ten lists of ten aliases each: ten thousand million items, if anything were to expand them.
BOMB = "\n".join(
    [f"a: &a [{', '.join(['1'] * 10)}]"] + [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise("abcdefgh")]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: 3", "has no `model:` section: expected a yaml file"),
        ("model: {dim: 32", "not a valid yaml configuration"),
        ("model: {mamba_gmlp: true}", "model.mamba_gmlp is True: only False is supported"),
        ("model: {freqs_per_bands: [a]}", "expected a list of whole numbers"),
        ("model: {module_type: lstm}", "model.module_type is lstm, the tensors have mamba2"),
        ("model: {stft_hop_length: long}", "stft_hop_length is 'long': expected a positive whole number"),
        ("model: {}\naudio: {sample_rate: '48000'}", "sample_rate is '48000': expected a positive whole number"),
        ("model: {}\naudio: {sample_rate: 48000.0}", "sample_rate is 48000.0: expected a positive whole number"),
        ("model: {}\naudio: {sample_rate: 500}", "expected 1000 to 384000 Hz"),
        ("model: {stft_n_fft: 2048}\nfeaturizer: {n_fft: 4096}", "n_fft is 4096 in one section and 2048 in another"),
        ("model: {stereo: 'no'}", "model.stereo is 'no': expected true or false"),
        ("model: {skip_connection: 1}", "model.skip_connection is 1: expected true or false"),
        ("model: {time_module_depth: 2}", "only 1 is supported"),
        ("model: {stft_normalized: 'yes'}", "model.stft_normalized is 'yes': expected true or false"),
        ("model: {use_pope: true}", "pope: only for networks of kind transformer"),
        ("model: {}\ntraining: {instruments: [1, 2]}", "training.instruments and target_instrument must be stem names"),
        ("model: {}\ntraining: {target_instrument: ''}", "files are named after them"),
        ("model: {depth: 100000000}", "model.depth is 100000000, the tensors have 2"),
        ("model: {mask_estimator_depth: 100000}", "mask_estimator_depth is 100000 linear layers, the tensors have 2"),
        ("model: {dim: 1" + "0" * 30 + "}", "model.dim is 10000.*, the tensors have 32"),
        ("model: {attn_dropout: 7}", "attn_dropout is 7: expected a number from 0 to 1"),
        ("model: {dim: !!int ''}", "not a valid yaml configuration"),
        ("model: {dim: !!timestamp abc}", "not a valid yaml configuration"),
        (f"{BOMB}\nmodel: {{freqs_per_bands: *h}}", "expected a list of whole numbers"),
        (f"{BOMB}\nmodel: {{dim: *h}}", "model.dim is a list, the tensors have 32"),
        ("model: {stft_n_fft: 4096}", "n_fft is 4096, the tensors are for 2048"),
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
    with pytest.raises(CheckpointError, match=r"final_norm\.gamma (is torch|contains NaN)|damaged or incomplete"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_empty_tensors_are_refused(tmp_path):
    state = golden_data.state("a")
    for key in list(state):
        if key.startswith("band_split.") and key.endswith("1.weight"):
            state[key] = torch.zeros(0, 8)
    torch.save(state, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="is empty: expected the parameters of a trained network"):
        load_checkpoint(tmp_path / "x.ckpt")
