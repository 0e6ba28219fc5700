"""Other networks are refused by their names."""

from __future__ import annotations

import golden_data
import golden_roformer
import pytest
import torch
import yaml

from bsmamba2.checkpoint import load_checkpoint
from bsmamba2.checkpoint.forks import fork_of_settings, fork_of_tensors
from bsmamba2.errors import CheckpointError, ConfigError

# network -> some names of its tensors, and where they are from.
FORKS = {
    # Reported: SUC-DriverOld/MSST-WebUI issue 101; modules of its modules/bs_roformer/hyperace_v2.py @ 1a2adfd.
    "HyperACE": ["mask_estimators.0.segm.backbone.stem.dwconv.weight", "mask_estimators.0.segm.hyperace.conv.weight"],
    # Reported.
    "FNO": ["mask_estimators.0.fno1d.fno_blocks.convs.weight", "mask_estimators.0.to_freqs.0.fno_blocks.weight"],
    "LoRA": ["layers.0.0.layers.0.0.to_qkv.lora_A", "base_model.model.layers.0.0.layers.0.0.to_qkv.lora_B.weight"],
    # Reported: lucidrains/BS-RoFormer, PyPI 0.6.0 and later.
    "hyper-connections": ["layers.0.0.layers.0.0.branch.to_qkv.weight", "layers.0.0.layers.0.0.static_alpha"],
    "value residual": ["layers.1.1.layers.0.0.learned_value_residual_mix.0.weight"],
    # ZFTurbo/Music-Source-Separation-Training @ ab6e7ee, models/bs_roformer/bs_conformer.py.
    "conformer": ["layers.0.0.layers.0.ff1.ff.net.1.weight", "layers.0.1.layers.1.conv.net.2.weight"],
    # Reported.
    "Large-Inst": ["mask_estimators.0.layers.0.0.layers.0.0.to_qkv.weight"],
    # ZFTurbo/Music-Source-Separation-Training @ 0a62276, models/ts_bs_mamba2.py.
    "TS-BSMamba2": ["separator_mask.0.band_rnn.rnn.forward_mamba2.in_proj.weight", "BN_mask.0.1.weight"],
    # Names in ZFTurbo/Music-Source-Separation-Training, models/.
    "MDX23C": ["first_conv.weight", "encoder_blocks.0.tfc_tdf.blocks.0.tfc1.2.weight"],
    "HTDemucs": ["crosstransformer.layers.0.self_attn.in_proj_weight"],
    "SCNet": ["separation_net.dp_modules.0.lstm_layers.0.weight_ih_l0"],
    "BandIt": ["band_split.norm_fc_modules.0.norm.weight"],
}


@pytest.mark.parametrize(("word", "name"), [(word, name) for word, names in FORKS.items() for name in names])
def test_each_is_recognised_by_one_tensor(word, name):
    assert word.lower() in fork_of_tensors(["final_norm.gamma", name]).lower()


def test_supported_networks_are_not_taken_for_others():
    for name in golden_data.CASES:
        assert fork_of_tensors(golden_data.state(name)) is None
    for name in golden_roformer.CASES:
        assert fork_of_tensors(golden_roformer.state(name)) is None
        assert fork_of_settings(golden_roformer.configuration(name)) is None
    for known in golden_roformer.public_shapes().values():
        assert fork_of_tensors(known["shapes"]) is None


@pytest.mark.parametrize("word", FORKS)
def test_a_checkpoint_is_refused_in_one_line(tmp_path, word):
    """Whether it has the tensors of a supported network besides or not."""
    path = tmp_path / "x.ckpt"
    others = {name: torch.zeros(2) for name in FORKS[word]}
    for tensors in (others, {**golden_roformer.state("bs_pope_d24_L2"), **others}, {"state_dict": others}):
        torch.save(tensors, path)
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(path)
        line = str(error.value)
        assert line.startswith(f"{path}: is ") and word.lower() in line.lower() and "\n" not in line
        assert "is not supported" in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"time_conformer_depth": 1}}, "model.time_conformer_depth is that of a conformer"),
        ({"model": {"num_residual_streams": 4}}, "model.num_residual_streams is that of a BS-RoFormer with hyper-conn"),
        ({"model_type": "bs_roformer_experimental"}, r"model_type bs_roformer_experimental is MSST's \*_experimental"),
    ],
)
def test_a_configuration_is_refused_in_one_line(tmp_path, changes, message):
    content = golden_roformer.configuration("bs_pope_d24_L2")
    content["model"] |= changes.pop("model", {})
    torch.save(golden_roformer.state("bs_pope_d24_L2"), tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({**content, **changes}))
    with pytest.raises(ConfigError, match=message):
        load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml")


def test_one_stream_of_hyper_connections_is_none(tmp_path):
    content = golden_roformer.configuration("bs_pope_d24_L2")
    content["model"]["num_residual_streams"] = 1
    torch.save(golden_roformer.state("bs_pope_d24_L2"), tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(content))
    load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml")
