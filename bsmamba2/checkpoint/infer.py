"""The sizes of a network, inferred from the shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bsmamba2.errors import CheckpointError

FIRST = "band_split.to_features.0.0.gamma"  # in every network of this family, whatever its kind
MEL_BAND = "this is a Mel-Band RoFormer, which is not supported: expected BSMamba2 or BS-RoFormer"


def infer_sizes(state: Mapping[str, Tensor], bins: int) -> dict[str, Any]:
    """`ModelConfig` fields that the tensors determine. `bins`, f of the STFT, distinguishes stereo from mono.

    Raises CheckpointError if the tensors are not those of a band-split separator.
    """

    def size(key: str, axis: int) -> int:
        if key not in state or state[key].ndim <= axis:
            raise CheckpointError(
                f"no tensor {key} with at least {axis + 1} axes: expected the parameters of BSMamba2 or BS-RoFormer "
                "with the names of the official code"
            )
        found = int(state[key].shape[axis])
        if found == 0:
            raise CheckpointError(f"tensor {key} is empty: expected the parameters of a trained network")
        return found

    numbers = r"(\d+)"
    if any(re.fullmatch(r"layers\.\d+\.\d+\.norm\.gamma", key) for key in state):  # only that network has this norm
        raise CheckpointError(MEL_BAND)
    widths = [
        size(f"band_split.to_features.{k}.0.gamma", 0)
        for k in range(_count(state, rf"band_split\.to_features\.{numbers}\.0\.gamma"))
    ]
    channels, rest = divmod(sum(widths), 2 * bins)
    if rest or channels not in (1, 2) or any(width % (2 * channels) for width in widths):
        raise CheckpointError(
            f"the sub-bands take {sum(widths)} numbers per frame: expected {2 * bins} (mono) or {4 * bins} (stereo) "
            f"for {bins} bins: give the right STFT with --config, unless this is a Mel-Band RoFormer, whose bands "
            "overlap: that one is not supported"
        )
    along_time, along_bands = (_is_mamba(state, f"layers.0.{axis}.") for axis in (0, 1))
    if along_bands and not along_time:
        raise CheckpointError("Mamba2 along the sub-bands with attention along time is not a known module type")
    hidden = size("mask_estimators.0.to_freqs.0.0.0.weight", 0)
    linears = _count(state, rf"mask_estimators\.0\.to_freqs\.0\.0\.{numbers}\.weight")
    dim = size("band_split.to_features.0.1.weight", 0)
    sizes: dict[str, Any] = {
        "kind": "mamba2" if along_bands else "mamba2-roformer" if along_time else "transformer",
        "dim": dim,
        "depth": _count(state, rf"layers\.{numbers}\..*"),
        "channels": channels,
        "bands": tuple(width // (2 * channels) for width in widths),
        "mask_depth": linears,
    }
    if linears > 1:
        sizes["mask_expansion"] = max(hidden // dim, 1)
    if along_time:
        mixer = "layers.0.0.forward_blocks.0.mixer."
        inner = size(mixer + "norm.weight", 0)
        heads = size(mixer + "A_log", 0)
        sizes |= {
            "expand": max(inner // dim, 1),
            "headdim": max(inner // max(heads, 1), 1),
            "d_state": (size(mixer + "conv1d.weight", 0) - inner) // 2,
            "d_conv": size(mixer + "conv1d.weight", 2),
        }
    if not along_bands:
        attention = "layers.0.1.layers.0."
        heads = size(attention + "0.to_gates.weight", 0)
        sizes |= {
            "heads": heads,
            "dim_head": size(attention + "0.to_qkv.weight", 0) // max(3 * heads, 1),
            "ff_expansion": max(size(attention + "1.net.1.weight", 0) // dim, 1),
        }
    return sizes


def count_stems(state: Mapping[str, Tensor]) -> int:
    return _count(state, r"mask_estimators\.(\d+)\..*")


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for key in state if (match := re.fullmatch(pattern, key))})


def _is_mamba(state: Mapping[str, Tensor], prefix: str) -> bool:
    return any(key.startswith(prefix + "forward_blocks.") for key in state)
