"""Names for checkpoints and configurations of networks that compute something else, so that they are refused by name.

Forks of BS-RoFormer keep most tensor names: without this, their users would get a list of missing keys, or, where only
the configuration differs, wrong sound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HYPERACE = "a HyperACE network (BS-RoFormer-HyperACE by unwa): its mask estimator is another network"
HYPERACE_2 = "a HyperACE v2 network (BS-RoFormer-HyperACE by unwa): its mask estimator is another network"
FNO = "an FNO network (BS-Roformer-Inst-FNO by unwa): its mask estimator is a Fourier neural operator"
LARGE_INST = "a Large-Inst network (BS-Roformer-Large-Inst by unwa): its mask estimator contains transformers"
SIAMESE = "a Siamese network (BS-Siamese-RoFormer by unwa): its transformers carry two streams"
CONDITIONAL = "a band-conditioned BS-RoFormer (YingMusic): its transformers are modulated per sub-band"
WINDOWED = "a windowed Mel-Band RoFormer (smulelabs): its attention along time is limited to a window with sink tokens"
CONFORMER = "a BS-Conformer or Mel-Band Conformer: its blocks contain convolutions"
HYPER = "a RoFormer with hyper-connections (PyPI bs-roformer 0.6 and newer): it has several residual streams"
WRAPPED = "a RoFormer of PyPI bs-roformer 0.6 or newer with one residual stream: its tensors have other names"
MEL_VALUES = (
    "a Mel-Band RoFormer with value residuals (PyPI bs-roformer 0.6.1 and newer): its public code swaps the operands "
    "of their mixture, so what it was trained to compute depends on the code's version"
)
EXPERIMENTAL = "a RoFormer of MSST's *_experimental code: its later blocks run without residual connections"
ADAPTER = "a LoRA adapter, not a network: merge it into the checkpoint that it was trained from and give the result"
UNMERGED = "a network with a LoRA adapter beside its weights: merge the adapter into the weights and give the result"
TS_BSMAMBA2 = "a TS-BSMamba2 network (bs_mamba2 of MSST's early releases): it maps and masks in two stages"
SCNET, MDX23C = "an SCNet network", "an MDX23C network (TFC-TDF v3)"
HTDEMUCS, HDEMUCS, DEMUCS = "an HTDemucs network", "a Hybrid Demucs network", "a Demucs network"
APOLLO, BANDIT = "an Apollo network (audio restoration)", "a BandIt network"
SEGMENTATION = "a segmentation network (segm_models or torchseg of MSST)"
SPEECH_CONFORMER = "a Conformer network on whole spectra (conformer of MSST)"
DTTNET, VR, SWIN = "a DTTNet network", "a VR network of UVR", "a Swin-UperNet network (swin_upernet of MSST)"

SUPPORTED = "BSMamba2, BS-RoFormer or Mel-Band RoFormer"

# Names that no supported network has, within one that has the usual sub-bands -> what they belong to; the first counts.
ATTENTION_OR_FF = r"layers\.\d+\.\d+\.layers\.\d+\.[01]\."
VARIANTS = (
    (r"mask_estimators\.\d+\.segm\.upsample_head\.block\d\.out_conv\.", HYPERACE_2),
    (r"mask_estimators\.\d+\.segm\.", HYPERACE),
    (r"mask_estimators\.\d+\.to_freqs\.\d+\.0\.fno_blocks\.", FNO),
    (r"mask_estimators\.\d+\.layers\.\d+\.\d+\.layers\.", LARGE_INST),
    (r"layers\.\d+\.\d+\.(?:ln_[xy]_(?:attn|mlp)|y_attn)\.\d", SIAMESE),
    (r"layers\.\d+\.\d+\.adaLN_modulations\.|band_cond_embedding\.", CONDITIONAL),
    (r"sink_tokens$", WINDOWED),
    (r"layers\.\d+\.\d+\.layers\.\d+\.(?:ff1|ff2|conv|out_norm)\.", CONFORMER),
    (ATTENTION_OR_FF + r"(?:static_alpha|static_beta|dynamic_alpha_fn|dynamic_beta_fn)$", HYPER),
    (ATTENTION_OR_FF + r"(?:branch\.)?learned_value_residual_mix\.0\.", MEL_VALUES),
    (ATTENTION_OR_FF + r"branch\.", WRAPPED),
)
# Names of other networks, which have other sub-bands or none.
OTHERS = (
    (r"(?:BN_mask|separator_mask|separator_map)\.\d", TS_BSMAMBA2),
    (r"separation_net\.dp_modules\.\d|(?:sd|su|dualpath)_blocks\.", SCNET),
    (r"encoder_blocks\.\d+\.tfc_tdf\.", MDX23C),
    (r"crosstransformer\.", HTDEMUCS),
    (r"tencoder\.\d", HDEMUCS),
    (r"net\.\d+\.(?:band_net|seq_net)\.", APOLLO),
    (r"tf_model\.seqband\.\d|mask_estim\.\w+\.", BANDIT),
    (r"unet_model\.", SEGMENTATION),
    (r"core\.input_proj_stft\.", SPEECH_CONFORMER),
    (r"encoding_blocks\.\d+\.|bottleneck_block2\.", DTTNET),
    (r"stg1_low_band_net\.", VR),
    (r"swin_upernet_model\.", SWIN),
)

# Kinds that commands and configurations of other programs name.
TYPES = {
    "bs_roformer_hyperace": HYPERACE,
    "bs_conformer": CONFORMER,
    "mel_band_conformer": CONFORMER,
    "bs_roformer_experimental": EXPERIMENTAL,
    "mel_band_roformer_experimental": EXPERIMENTAL,
    "scnet": SCNET,
    "scnet_unofficial": SCNET,
    "scnet_masked": SCNET,
    "scnet_tran": SCNET,
    "mdx23c": MDX23C,
    "experimental_mdx23c_stht": MDX23C,
    "htdemucs": HTDEMUCS,
    "hdemucs": HDEMUCS,
    "demucs": DEMUCS,
    "apollo": APOLLO,
    "bandit": BANDIT,
    "bandit_v2": BANDIT,
    "segm_models": SEGMENTATION,
    "torchseg": SEGMENTATION,
    "conformer": SPEECH_CONFORMER,
    "dttnet": DTTNET,
    "swin_upernet": SWIN,
    "vr": VR,
}
# Entries beside the sections (or in `model`) by which programs that know several forks tell them apart; false is none.
FLAGS = {
    "hyperace": HYPERACE,
    "hyperace2": HYPERACE_2,
    "fno": FNO,
    "unwa_inst_large_2": LARGE_INST,
    "siamese": SIAMESE,
    "windowed": WINDOWED,
    "conformer": CONFORMER,
}
# Settings in `model` that only one kind has.
SETTINGS = {
    "time_conformer_depth": CONFORMER,
    "freq_conformer_depth": CONFORMER,
    "n_wsa_sinks": WINDOWED,
    "wsa_window_len": WINDOWED,
    "use_value_residual_learning": EXPERIMENTAL,
    "num_residual_streams": EXPERIMENTAL,  # if it is 1: PyPI's code, which has it too, comes without configurations
    "num_repeat_mask": TS_BSMAMBA2,
    "band_SR": SCNET,
    "bandsplit_ratios": SCNET,
    "num_blocks_per_scale": MDX23C,
    "band_specs": BANDIT,
    "n_sqm_modules": BANDIT,
    "decoder_type": SEGMENTATION,
    "freq_bins": SPEECH_CONFORMER,
}


def fork_of_tensors(keys: Iterable[str]) -> str | None:
    """What a checkpoint with these tensor names is, if it is a fork or another network, otherwise None.

    Prefixes of Lightning, DDP and torch.compile are allowed, and so are other entries.
    """
    text = "\n".join(map(str, keys))

    def has(pattern: str) -> bool:
        return re.search(rf"(?:^|\.)(?:{pattern})", text, re.M) is not None

    if re.search(r"\.lora_[AB](?:\.|$)", text, re.M):
        return UNMERGED if has(r"band_split\.to_features\.\d+\.0\.gamma$") else ADAPTER
    known = VARIANTS if has(r"band_split\.to_features\.\d") else OTHERS
    return next((what for pattern, what in known if has(pattern)), None)


def fork_of_settings(model_section: Mapping[str, Any], whole: Mapping[str, Any]) -> str | None:
    """What the network of a configuration is, if it is a fork or another network, otherwise None.

    `model_section` is `whole["model"]`, or empty if that is no mapping.
    """
    training = whole.get("training")
    sections = (whole, model_section, training if isinstance(training, Mapping) else {})
    for kind in (whole.get("model"), *(section.get("model_type") for section in sections)):
        if isinstance(kind, str) and kind.lower() in TYPES:
            return TYPES[kind.lower()]
    for flag, what in FLAGS.items():
        if any(section.get(flag, False) is not False for section in (whole, model_section)):
            return what
    streams = model_section.get("num_residual_streams")
    if isinstance(streams, int) and streams > 1:
        return HYPER
    for setting, what in SETTINGS.items():
        if setting in model_section:
            return what
    kwargs = whole.get("kwargs")  # where BandIt v2 has its settings
    if isinstance(kwargs, Mapping) and "n_sqm_modules" in kwargs:
        return BANDIT
    return APOLLO if {"feature_dim", "layer"} <= model_section.keys() else None


def refused(what: str) -> str:
    """The end of an error for `what`, a description of this module: that it is not supported, and what to do."""
    if what in (ADAPTER, UNMERGED):
        return f"is {what}"
    return f"is {what}; it is not supported: give a checkpoint of {SUPPORTED}"
