"""The sizes of a network, inferred from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

from torch import Tensor

from bsmamba2.checkpoint.mel_bands import mel_bands
from bsmamba2.errors import CheckpointError

FIRST = "band_split.to_features.0.0.gamma"  # in every network of this family, whatever its kind

# What is tried where nothing is stated, the usual ones first.
N_FFTS = (2048, 4096, 1024, 512, 8192, 256)
SAMPLE_RATES = (44100, 48000, 32000, 24000, 22050, 16000, 96000, 8000)


def infer_sizes(state: Mapping[str, Tensor], stft: Mapping[str, Any]) -> dict[str, Any]:
    """`ModelConfig` fields that the tensors determine; the field "stft" is a dict of `StftConfig` fields.

    These are n_fft and, where the sub-bands are mel bands, sample_rate. `stft`, what is known of the STFT, decides
    where the tensors allow several. Raises CheckpointError if the tensors are not those of a band-split separator.
    """
    dim = _size(state, "band_split.to_features.0.1.weight", 0)
    numbers = r"(\d+)"
    linears = _count(state, rf"mask_estimators\.0\.to_freqs\.0\.0\.{numbers}\.weight")
    sizes: dict[str, Any] = {
        "dim": dim,
        "depth": _count(state, rf"layers\.{numbers}\..*"),
        "mask_depth": linears,
        **_axes(state, dim),
        **_bands(state, stft),
    }
    if linears > 1:
        sizes["mask_expansion"] = max(_size(state, "mask_estimators.0.to_freqs.0.0.0.weight", 0) // dim, 1)
    return sizes


def count_stems(state: Mapping[str, Tensor]) -> int:
    return _count(state, r"mask_estimators\.(\d+)\..*")


def _axes(state: Mapping[str, Tensor], dim: int) -> dict[str, Any]:
    """The fields of the modules along both axes, and of the linear attention before them."""
    slots = sorted({int(match[1]) for key in state if (match := re.match(r"layers\.0\.(\d+)\.", key))})
    if slots not in ([0, 1], [0, 1, 2], [1, 2]):
        raise CheckpointError(
            f"layer 0 has modules {', '.join(map(str, slots)) or '(none)'}: expected 0 and 1 (along time and along the "
            "sub-bands), with linear attention 0 to 2"
        )
    time, bands = (f"layers.0.{slot}." for slot in slots[-2:])
    along_time, along_bands = (_is_mamba(state, axis) for axis in (time, bands))
    if along_bands and not along_time:
        raise CheckpointError("Mamba2 along the sub-bands with attention along time is not a known module type")
    found: dict[str, Any] = {"kind": "mamba2" if along_bands else "mamba2-roformer" if along_time else "transformer"}
    if along_time:
        mixer = f"{time}forward_blocks.0.mixer."
        inner = _size(state, mixer + "norm.weight", 0)
        heads = _size(state, mixer + "A_log", 0)
        found |= {
            "expand": max(inner // dim, 1),
            "headdim": max(inner // max(heads, 1), 1),
            "d_state": (_size(state, mixer + "conv1d.weight", 0) - inner) // 2,
            "d_conv": _size(state, mixer + "conv1d.weight", 2),
        }
    if not along_bands:
        attention = f"{bands}layers.0."
        heads = _size(state, attention + "0.to_gates.weight", 0)
        found |= {
            "heads": heads,
            "dim_head": _size(state, attention + "0.to_qkv.weight", 0) // max(3 * heads, 1),
            "ff_expansion": max(_size(state, attention + "1.net.1.weight", 0) // dim, 1),
            "freq_depth": _rows(state, bands),
        }
    if not along_time:
        found |= {
            "time_depth": _rows(state, time),
            "linear_depth": _rows(state, "layers.0.0.") if len(slots) == 3 else 0,
            "empty_slot": slots == [1, 2],
            "block_norm": f"{time}norm.gamma" in state,
            "pope": any(".pope_embed." in key for key in state),
            "value_residual": any(".to_value_residual_mix." in key for key in state),
            "shared_bias": "linear_62_bias_0" in state,
        }
    return found


def _bands(state: Mapping[str, Tensor], stft: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the sub-bands, and the STFT that has so many bins."""
    count = _count(state, r"band_split\.to_features\.(\d+)\.0\.gamma")
    widths = [_size(state, f"band_split.to_features.{k}.0.gamma", 0) for k in range(count)]
    n_ffts = dict.fromkeys(each for each in (stft.get("n_fft"), *N_FFTS) if isinstance(each, int))
    mel = re.compile(r"layers\.\d+\.\d+\.norm\.gamma")  # only Mel-Band RoFormers have this norm
    if not any(mel.fullmatch(key) for key in state):
        for n_fft, channels in product(n_ffts, (2, 1)):
            whole = not any(width % (2 * channels) for width in widths)
            if whole and sum(widths) == channels * (n_fft + 2):
                bands = tuple(width // (2 * channels) for width in widths)
                return {"channels": channels, "bands": bands, "starts": (), "stft": {"n_fft": n_fft}}
        raise CheckpointError(
            f"the sub-bands take {sum(widths)} numbers per frame: expected twice (mono) or four times (stereo) the "
            f"bins of an STFT of n_fft {', '.join(map(str, n_ffts))}: give the right STFT with --config"
        )
    rates = dict.fromkeys(each for each in (stft.get("sample_rate"), *SAMPLE_RATES) if isinstance(each, int))
    for n_fft, rate, channels in product(n_ffts, rates, (2, 1)):
        table = mel_bands(rate, n_fft, count) if n_fft > 2 * count else None
        if table is not None and [2 * channels * width for width in table[1]] == widths:
            found = {"n_fft": n_fft, "sample_rate": rate}
            return {"channels": channels, "bands": table[1], "starts": table[0], "stft": found}
    raise CheckpointError(
        f"its {count} sub-bands are not the mel bands of any usual STFT (n_fft {', '.join(map(str, n_ffts))} at "
        f"{', '.join(map(str, rates))} Hz): give its sample_rate and n_fft with --config"
    )


def _rows(state: Mapping[str, Tensor], module: str) -> int:
    """How many attentions a module has in a row."""
    return _count(state, re.escape(module) + r"layers\.(\d+)\..*")


def _size(state: Mapping[str, Tensor], key: str, axis: int) -> int:
    if key not in state or state[key].ndim <= axis:
        raise CheckpointError(
            f"no tensor {key} with at least {axis + 1} axes: expected the parameters of BSMamba2, BS-RoFormer or "
            "Mel-Band RoFormer with the names of the original code"
        )
    found = int(state[key].shape[axis])
    if found == 0:
        raise CheckpointError(f"tensor {key} is empty: expected the parameters of a trained network")
    return found


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for key in state if (match := re.fullmatch(pattern, key))})


def _is_mamba(state: Mapping[str, Tensor], prefix: str) -> bool:
    return any(key.startswith(prefix + "forward_blocks.") for key in state)
