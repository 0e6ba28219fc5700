"""Checkpoints of other networks, recognised by the names of their tensors or by their configuration.

Some are forks of BS-RoFormer that compute something else under almost the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# What it is -> a pattern that some of its tensors' names contain, and those of no supported network.
OTHERS = {
    "a HyperACE network (BS-RoFormer-HyperACE), whose mask estimator is a convolutional network": (
        r"\.segm\.|(^|\.)hyperace\."
    ),
    "a BS-RoFormer with Fourier neural operators (BS-RoFormer-Inst-FNO) in its mask estimator": r"(^|\.)fno[_\d.]",
    "a LoRA adapter, or a network with adapters that are not merged into its weights": r"\.?lora_[AB](\.|$)",
    "a BS-RoFormer with hyper-connections": r"\.branch\.|\.static_(alpha|beta)|\.dynamic_(alpha|beta)_",
    "a Mel-Band RoFormer with the value residual of PyPI's bs-roformer 0.6.1 or later": (
        r"\.learned_value_residual_mix\."
    ),
    "a conformer (BS-Conformer or Mel-Band Conformer of MSST)": (
        r"^layers\.\d+\.\d+\.layers\.\d+\.(ff1|ff2|attn|conv|out_norm)\."
    ),
    "a BS-RoFormer with transformers in its mask estimator (BS-RoFormer-Large-Inst)": (
        r"^mask_estimators\.\d+\.(?!to_freqs\.)\w+\."
    ),
    "the TS-BSMamba2 of MSST, an older network than BSMamba2": r"^(separator_mask|BN_mask)\.",
    "an MDX23C network": r"^(first_conv\.weight|encoder_blocks\.\d+\.tfc_tdf\.)",
    "an HTDemucs network": r"(^|\.)crosstransformer\.",
    "an SCNet network": r"^separation_net\.",
    "a BandIt network": r"(^|\.)norm_fc_modules\.",
}
# The same by settings of the section `model`, with the values that do not say so.
SETTINGS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "time_conformer_depth": ("a conformer (BS-Conformer or Mel-Band Conformer of MSST)", ()),
    "freq_conformer_depth": ("a conformer (BS-Conformer or Mel-Band Conformer of MSST)", ()),
    "num_residual_streams": ("a BS-RoFormer with hyper-connections", (1,)),
    "num_residual_fracs": ("a BS-RoFormer with hyper-connections", (1,)),
    "num_repeat_mask": ("the TS-BSMamba2 of MSST, an older network than BSMamba2", ()),
}
EXPERIMENTAL = "MSST's *_experimental code, whose later layers have no residual connections"
INSTEAD = "it computes something else than BSMamba2, BS-RoFormer and Mel-Band RoFormer, and is not supported"


def fork_of_tensors(names: Iterable[str]) -> str | None:
    """The line of an error if tensors of these names are those of another network, otherwise None."""
    patterns = {what: re.compile(pattern) for what, pattern in OTHERS.items()}
    for name in names:
        for what, pattern in patterns.items():
            if pattern.search(name):
                return f"is {what}: {INSTEAD} (it has a tensor {name[:80]})"
    return None


def fork_of_settings(config: Mapping[str, Any]) -> str | None:
    """The same for a configuration with the sections of MSST."""
    model, training = config.get("model"), config.get("training")
    for key, (what, allowed) in SETTINGS.items():
        value = model.get(key) if isinstance(model, Mapping) else None
        if value is not None and value not in allowed:
            return f"model.{key} is that of {what}: {INSTEAD}"
    for section in (config, model, training):
        kind = section.get("model_type") if isinstance(section, Mapping) else None
        if isinstance(kind, str) and kind.endswith("_experimental"):
            return f"model_type {kind[:40]} is {EXPERIMENTAL}: {INSTEAD}"
    return None
