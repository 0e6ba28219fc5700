"""Checkpoints and configurations of other networks are named; those of supported ones are not taken for others."""

from __future__ import annotations

import json

import golden_data
import pytest
import torch
import yaml

from bsmamba2.checkpoint import forks, load_checkpoint
from bsmamba2.checkpoint.forks import fork_of_settings, fork_of_tensors, refused
from bsmamba2.checkpoint.settings import read_yaml
from bsmamba2.errors import CheckpointError, ConfigError

BANDS = ["band_split.to_features.0.0.gamma", "band_split.to_features.0.1.weight", "final_norm.gamma"]
MASKS = ["mask_estimators.0.to_freqs.0.0.0.weight", "mask_estimators.0.to_freqs.0.0.2.bias"]
AXIS = ["layers.0.0.layers.0.0.to_qkv.weight", "layers.0.0.layers.0.1.net.1.weight"]
TRUNK = [*BANDS, *AXIS]
LATER = "layers.1.0.layers.0.0."
HYPER_NAMES = ("static_alpha", "dynamic_alpha_fn", "static_beta", "dynamic_beta_fn", "branch.to_qkv.weight")

# Description -> tensor names, with where they were read ("run": the code was run to list them).
TENSORS = {
    # SUC-DriverOld/MSST-WebUI issue 101; noblebarkrr/mvsepless@5f416baa models/bs_roformer/bs_roformer_hyperace.py
    forks.HYPERACE: [
        *(TRUNK + MASKS),
        "mask_estimators.0.segm.backbone.p5.1.m.m.1.dsconv1.dwconv.weight",
        "mask_estimators.0.segm.hyperace.high_order_branch.0.ahc.adaptive_hyperedge_gen.global_proto",
        "mask_estimators.0.segm.upsample_head.block1.conv.dwconv.weight",
    ],
    # noblebarkrr/mvsepless@5f416baa models/bs_roformer/bs_roformer_hyperace2.py
    forks.HYPERACE_2: [
        *(TRUNK + MASKS),
        "mask_estimators.0.segm.backbone.stem.dwconv.weight",
        "mask_estimators.0.segm.upsample_head.block1.out_conv.blocks.0.tfc1.0.weight",
    ],
    # openmirlab/bs-roformer-infer@9c428457 src/bs_roformer/fno.py
    forks.FNO: [
        *TRUNK,
        "mask_estimators.0.to_freqs.0.0.fno_blocks.convs.0.weight.tensor",
        "mask_estimators.0.to_freqs.0.0.fno_blocks.channel_mlp.0.fcs.0.weight",
        "mask_estimators.0.to_freqs.0.0.lifting.fcs.0.weight",
        "mask_estimators.0.to_freqs.0.0.projection.fcs.1.bias",
    ],
    # openmirlab/bs-roformer-infer@04cfa4be src/bs_roformer/large_inst.py
    forks.LARGE_INST: [
        *(TRUNK + MASKS),
        "mask_estimators.0.layers.0.0.layers.0.0.to_qkv.weight",
        "mask_estimators.0.layers.3.1.layers.0.1.net.4.bias",
        "mask_estimators.0.norm.gamma",
    ],
    # openmirlab/bs-roformer-infer@cc42d460 src/bs_roformer/siamese.py
    forks.SIAMESE: [*(TRUNK + MASKS), "layers.0.0.ln_y_attn.0.gamma", "layers.0.0.y_attn.0"],
    # noblebarkrr/mvsepless@5f416baa models/bs_roformer/bs_roformer_conditional.py
    forks.CONDITIONAL: [*(TRUNK + MASKS), "layers.0.0.adaLN_modulations.0.1.weight"],
    # noblebarkrr/mvsepless@c28f6531 models/windowed_roformer/model.py
    forks.WINDOWED: [*(TRUNK + MASKS), "layers.0.0.norm.gamma", "sink_tokens"],
    # ZFTurbo/Music-Source-Separation-Training@ab6e7ee1 models/bs_roformer/bs_conformer.py, the same in @74cb7e69
    # models/bs_roformer/mel_band_conformer.py
    forks.CONFORMER: [
        *(BANDS + MASKS),
        "layers.0.0.layers.0.ff1.ff.net.1.weight",
        "layers.0.0.layers.0.attn.to_qkv.weight",
        "layers.0.0.layers.0.conv.net.2.weight",
        "layers.0.0.layers.0.out_norm.gamma",
    ],
    # run: PyPI BS-RoFormer 0.6.0 with hyper-connections 0.1.15; 1.1.0 and 1.2.4 with 0.4.11
    forks.HYPER: [*(BANDS + MASKS), *(LATER + name for name in HYPER_NAMES)],
    # reported: the names without hyper-connections; run, with `branch.` before them: PyPI BS-RoFormer 1.1.0
    forks.MEL_VALUES: [*(TRUNK + MASKS), f"{LATER}learned_value_residual_mix.0.weight"],
    # run: PyPI BS-RoFormer 0.6.0 with num_residual_streams=1
    forks.WRAPPED: [*(BANDS + MASKS), f"{LATER}branch.to_qkv.weight", f"{LATER}branch.to_value_residual_mix.weight"],
    # run: loralib 0.1.2, which ZFTurbo/Music-Source-Separation-Training@e5da5ed2 utils/model_utils.py uses
    forks.ADAPTER: [
        f"{stem}.{ab}" for stem in ("layers.0.0.layers.0.0.to_qkv", BANDS[1][:-7]) for ab in ("lora_A", "lora_B")
    ],
    # the same
    forks.UNMERGED: [*(TRUNK + MASKS), "layers.0.0.layers.0.0.to_qkv.lora_A", "layers.0.0.layers.0.0.to_qkv.lora_B"],
    # ZFTurbo/Music-Source-Separation-Training@0a622768 models/ts_bs_mamba2.py
    forks.TS_BSMAMBA2: [
        "BN_mask.0.0.weight",
        "separator_mask.0.band_rnn.rnn.forward_mamba2.in_proj.weight",
        "in_conv.weight",
        "map.0.1.weight",
    ],
    # ZFTurbo/Music-Source-Separation-Training@7c4d8f90 models/scnet/scnet.py and models/scnet/separation.py
    forks.SCNET: ["encoder.0.SDlayer.convs.0.weight", "separation_net.dp_modules.0.lstm_layers.0.weight_ih_l0"],
    # ZFTurbo/Music-Source-Separation-Training@1a648010 models/mdx23c_tfc_tdf_v3.py
    forks.MDX23C: ["first_conv.weight", "encoder_blocks.0.tfc_tdf.blocks.0.tfc1.0.weight", "final_conv.0.weight"],
    # ZFTurbo/Music-Source-Separation-Training@3c6cf702 models/demucs4ht.py
    forks.HTDEMUCS: ["encoder.0.conv.weight", "tencoder.0.conv.weight", "crosstransformer.norm_in.weight"],
    # the same without its transformer (`t_layers: 0`)
    forks.HDEMUCS: ["encoder.0.conv.weight", "tencoder.0.conv.weight", "tdecoder.0.conv_tr.weight"],
    # ZFTurbo/Music-Source-Separation-Training@501d5606 models/look2hear/models/apollo.py
    forks.APOLLO: ["BN.0.0.weight", "net.0.band_net.weight.weight", "net.0.seq_net.blocks.0.conv.0.weight"],
    # ZFTurbo/Music-Source-Separation-Training@4918d981 models/bandit_v2; @9fbe4b6b models/bandit/core/model/bsrnn
    forks.BANDIT: ["band_split.norm_fc_modules.0.combined.0.weight", "tf_model.seqband.0.norm.weight"],
    # ZFTurbo/Music-Source-Separation-Training@1c735dc1 models/segm_models.py, @56690263 models/torchseg_models.py
    forks.SEGMENTATION: ["first_conv.weight", "unet_model.encoder.conv1.weight", "final_conv.0.weight"],
    # ZFTurbo/Music-Source-Separation-Training@6f090ff2 models/conformer_model.py
    forks.SPEECH_CONFORMER: ["core.input_proj_stft.weight", "core.output_proj.weight"],
    # ZFTurbo/Music-Source-Separation-Training@7276c96b models/dttnet/dp_tdf_net.py
    forks.DTTNET: ["first_conv.0.weight", "ds.0.0.weight", "us.0.0.weight", "bottleneck_block2.0.weight"],
    # Anjok07/ultimatevocalremovergui@6ffd7a24 lib_v5/vr_network/nets.py
    forks.VR: ["stg1_low_band_net.enc1.conv1.conv.0.weight", "stg2_bridge.conv.0.weight", "out.weight"],
    # ZFTurbo/Music-Source-Separation-Training@7ee8e074 models/upernet_swin_transformers.py
    forks.SWIN: ["first_conv.weight", "swin_upernet_model.decode_head.classifier.weight"],
}
# Other names of the same networks.
MORE_TENSORS = [
    # run: PyPI BS-RoFormer 1.1.0, mel
    (forks.HYPER, [*(TRUNK + MASKS), f"{LATER}static_alpha", f"{LATER}branch.learned_value_residual_mix.0.bias"]),
    # run: PyPI BS-RoFormer 1.1.0, mel, with num_residual_streams=1
    (forks.MEL_VALUES, [*(BANDS + MASKS), f"{LATER}branch.learned_value_residual_mix.0.bias"]),
    # ZFTurbo/Music-Source-Separation-Training@cf1a4cef models/scnet_unofficial/scnet.py
    (forks.SCNET, ["sd_blocks.0.x.weight", "dualpath_blocks.x.weight"]),
    # ZFTurbo/Music-Source-Separation-Training@9fbe4b6b models/bandit/core/model/bsrnn/wrapper.py and core.py
    (forks.BANDIT, ["bsrnn.tf_model.seqband.0.rnn.weight_ih_l0", "bsrnn.mask_estim.vocals.norm_mlp.0.norm.weight"]),
    # reported: names of the PEFT library
    (forks.ADAPTER, ["base_model.model.layers.0.0.layers.0.0.to_qkv.lora_A.default.weight"]),
]
ALL = [*TENSORS.items(), *MORE_TENSORS]


@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
@pytest.mark.parametrize(("what", "keys"), ALL)
def test_other_networks_are_named_by_their_tensors(what: str, keys: list[str], prefix: str) -> None:
    beside = ["epoch", "val_sdr.sum"]
    assert fork_of_tensors([*beside, *(prefix + key for key in keys)]) == what
    assert fork_of_tensors(reversed(keys)) == what


MIX = f"{LATER}to_value_residual_mix.weight"
SUPPORTED = {
    "bs": TRUNK + MASKS,
    "mel": [*BANDS[:2], *AXIS, *MASKS, "layers.0.0.norm.gamma"],
    "linear": [*TRUNK, *MASKS, "layers.0.0.layers.0.0.temperature", "layers.0.2.layers.0.0.to_out.0.weight"],
    "value residual": [*TRUNK, *MASKS, MIX],
    "pope": [*TRUNK, *MASKS, "layers.0.0.layers.0.0.pope_embed.bias"],
    "shared bias": [*TRUNK, *MASKS, "linear_62_bias_0", "layers.0.0.layers.0.0.to_out.0.bias"],
    "two copies": [prefix + key for prefix in ("model.", "ema_model.") for key in TRUNK + MASKS],
    "nothing": [],
    "unknown": ["weight", "encoder.0.weight", "mask.0.weight", "net.0.weight"],
}


@pytest.mark.parametrize("keys", SUPPORTED.values(), ids=SUPPORTED)
def test_supported_networks_are_not_named(keys: list[str]) -> None:
    assert fork_of_tensors(keys) is None


@pytest.mark.parametrize("name", golden_data.CASES)
def test_the_official_networks_are_not_named(name: str) -> None:
    assert fork_of_tensors(golden_data.state(name)) is None
    assert fork_of_settings(json.loads(str(golden_data.case(name)["config"]))["model_config"], {}) is None


def test_no_official_tensor_has_a_name_of_another_network() -> None:
    content = json.loads((golden_data.FOLDER / "official_state_dict.json").read_text())
    assert set(content) >= {"mamba2", "transformer"}
    for kind in content.values():
        assert fork_of_tensors(json.dumps(kind).replace('"', "\n").split("\n")) is None


# Description -> configurations, with where they were read.
YAMLS = [
    # noblebarkrr/mvsepless@fd6d510c models/ROFORMER_SPECIFIC_KEYS.md: it is the presence that counts
    (forks.HYPERACE, "hyperace: true\nmodel: {dim: 256}"),
    (forks.HYPERACE_2, "hyperace2: true\nmodel: {dim: 256}"),
    (forks.FNO, "fno:\nmodel: {dim: 256}"),
    (forks.LARGE_INST, "unwa_inst_large_2: true\nmodel: {dim: 256}"),
    (forks.SIAMESE, "siamese: true\nmodel: {dim: 256}"),
    (forks.WINDOWED, "windowed: true\nmodel: {num_bands: 60}"),
    (forks.CONFORMER, "conformer: true\nmodel: {num_bands: 60}"),
    # bascurtiz/MSST-GUI@1059ffa7 models/bs_roformer/bs_roformer_fno.py
    (forks.SIAMESE, "model: {dim: 256, siamese: true}"),
    # noblebarkrr/mvsepless@c28f6531 models/windowed_roformer/model.py
    (forks.WINDOWED, "model: {num_bands: 60, wsa_window_len: 10, n_wsa_sinks: 8}"),
    # ZFTurbo/Music-Source-Separation-Training@ab6e7ee1 configs/config_vocals_bs_conformer.yaml
    (forks.CONFORMER, "model: {dim: 256, time_conformer_depth: 1, freq_conformer_depth: 1, conv_kernel_size: 31}"),
    # ZFTurbo/Music-Source-Separation-Training@fc8d9c4d models/bs_roformer/bs_roformer_experimental.py
    (forks.EXPERIMENTAL, "model: {dim: 256, use_value_residual_learning: false, num_residual_streams: 1}"),
    (forks.EXPERIMENTAL, "model: {dim: 256, num_residual_streams: 1}"),
    (forks.HYPER, "model: {dim: 256, num_residual_streams: 4}"),
    # names of ZFTurbo/Music-Source-Separation-Training@02b46f82 utils/settings.py
    (forks.EXPERIMENTAL, "model_type: mel_band_roformer_experimental\nmodel: {dim: 256}"),
    (forks.EXPERIMENTAL, "model: {dim: 256}\ntraining: {model_type: bs_roformer_experimental}"),
    # ZFTurbo/Music-Source-Separation-Training@0a622768 configs/config_vocals_bs_mamba2.yaml
    (forks.TS_BSMAMBA2, "model: {sr: 44100, win: 2048, stride: 512, feature_dim: 128, num_repeat_mask: 8}"),
    # ZFTurbo/Music-Source-Separation-Training@71b3a90b configs/config_musdb18_scnet_large.yaml
    (forks.SCNET, "model: {sources: [drums], dims: [4, 64], band_SR: [0.225], num_dplayer: 6}"),
    # ZFTurbo/Music-Source-Separation-Training@01af5860 configs/config_musdb18_scnet.yaml
    (forks.SCNET, "model: {dims: [4, 32], bandsplit_ratios: [.175], n_rnn_layers: 6}"),
    # ZFTurbo/Music-Source-Separation-Training@22a4cd30 configs/config_vocals_mdx23c.yaml
    (forks.MDX23C, "model: {act: gelu, growth: 128, num_blocks_per_scale: 2, num_scales: 5, num_subbands: 4}"),
    # ZFTurbo/Music-Source-Separation-Training@22a4cd30 configs/config_vocals_htdemucs.yaml
    (forks.HTDEMUCS, "model: htdemucs\nhtdemucs: {channels: 48}"),
    # ZFTurbo/Music-Source-Separation-Training@e12ab124 configs/config_apollo.yaml
    (forks.APOLLO, "model: {sr: 44100, win: 20, feature_dim: 256, layer: 6}"),
    # ZFTurbo/Music-Source-Separation-Training@22a4cd30 configs/config_vocals_bandit_bsrnn_multi_mus64.yaml
    (forks.BANDIT, "model: {in_channel: 1, band_specs: musical, n_sqm_modules: 8}"),
    # ZFTurbo/Music-Source-Separation-Training@4918d981 configs/config_dnr_bandit_v2_mus64.yaml
    (forks.BANDIT, "cls: Bandit\nkwargs: {in_channels: 1, band_type: musical, n_sqm_modules: 8}"),
    # ZFTurbo/Music-Source-Separation-Training@8dd1fe79 configs/config_musdb18_torchseg.yaml
    (forks.SEGMENTATION, "model: {encoder_name: maxvit_tiny_tf_512, decoder_type: unet, num_subbands: 8}"),
    # ZFTurbo/Music-Source-Separation-Training@d7a1b64a configs/config_musdb_conformers.yaml
    (forks.SPEECH_CONFORMER, "model: {in_channels: 2, freq_bins: 2049, embed_dim: 512, conv_kernel_size: 31}"),
]


def settings_of(text: str) -> str | None:
    whole = yaml.safe_load(text)
    model = whole.get("model")
    return fork_of_settings(model if isinstance(model, dict) else {}, whole)


@pytest.mark.parametrize(("what", "text"), YAMLS)
def test_other_networks_are_named_by_their_configuration(what: str, text: str) -> None:
    assert settings_of(text) == what


@pytest.mark.parametrize(
    "text",
    [
        "model: {dim: 384, depth: 6, num_bands: 60, skip_connection: true, match_input_audio_length: true}",
        "model: {dim: 256, depth: 12, use_shared_bias: true, use_pope: true, freqs_per_bands: [2, 2]}",
        "model_type: bs_roformer\nmodel: {dim: 512}\ntraining: {instruments: [vocals]}\naugmentations: {enable: true}",
        "model: {dim: 256, module_type: mamba2, mamba_gmlp: false}\nlora: {r: 8}",  # the weights may have been merged
        "hyperace: false\nmodel: {dim: 256, siamese: false}",
        "sw: true\nmodel: {dim: 256}",
        "training:\nmodel: {}",
    ],
)
def test_configurations_of_supported_networks_are_not_named(text: str) -> None:
    assert settings_of(text) is None


@pytest.mark.parametrize("what", [*TENSORS, *forks.TYPES.values()])
def test_a_refusal_is_one_line_that_says_what_to_do(what: str) -> None:
    assert "\n" not in refused(what)
    assert refused(what).startswith("is a") and " give " in refused(what)
    assert ("not supported" in refused(what)) != ("merge" in what)


def test_every_pattern_and_description_is_tested() -> None:
    described = {value for name, value in vars(forks).items() if name.isupper() and isinstance(value, str)}
    tested = {*TENSORS, *(what for what, _ in YAMLS), forks.DEMUCS, forks.SUPPORTED, forks.ATTENTION_OR_FF}
    assert described == tested


@pytest.mark.parametrize("what", [forks.HYPERACE, forks.CONFORMER, forks.HYPER, forks.SCNET, forks.MDX23C])
def test_a_checkpoint_is_refused_in_one_line(tmp_path, what: str) -> None:
    tensors = {name: torch.zeros(2, 2) for name in TENSORS[what]}
    for content in (tensors, {"state_dict": tensors}):
        torch.save(content, tmp_path / "x.ckpt")
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(tmp_path / "x.ckpt")
        assert str(error.value) == f"{tmp_path / 'x.ckpt'}: {refused(what)}"


def test_an_fno_checkpoint_with_a_function_in_it_is_named_and_nothing_is_run(tmp_path) -> None:
    tensors = {name: torch.zeros(2, 2) for name in TENSORS[forks.FNO]}
    torch.save({**tensors, "_metadata": {"act": torch._C._nn.gelu}}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="is an FNO network"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_a_configuration_is_refused_in_one_line(tmp_path) -> None:
    (tmp_path / "x.yaml").write_text("model: {dim: 24, time_conformer_depth: 1}")
    with pytest.raises(ConfigError) as error:
        read_yaml(tmp_path / "x.yaml")
    assert str(error.value) == f"{tmp_path / 'x.yaml'}: {refused(f'the configuration of {forks.CONFORMER}')}"
