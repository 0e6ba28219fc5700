"""Golden data of BS-RoFormer and Mel-Band RoFormer as others wrote them (see tests/golden/README.md)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from golden_data import FOLDER, arrays

if TYPE_CHECKING:  # PyTorch takes seconds to import, and the tests of runtime take arrays only
    import torch

    from bsmamba2.checkpoint import Checkpoint

# The files and what is special about them. All were computed in float64.
CASES = (
    "bs_stereo_d24_L2",
    "bs_4stems_d12_L2",
    "bs_mono_skip_md3_dc_d16_L4",
    "bs_linear_bands36_d24",
    "bs_shared_bias_d24_L2",
    "bs_value_residual_d24_L3",
    "bs_pope_d24_L2",
    "mel60_stereo_d24_L2",
    "mel60_2stems_md3_skip_dc_match_d16_L3",
    "mel60_linear_d16_L2",
    "mel40_pypi041_d12_L2",
    "mel64_mono_nfft4096_md1_d16",
)
# Largest difference relative to the peak, in float32: from the spectrogram, and from the waveform.
TOLERANCE, FROM_WAVE = 1e-5, 1e-4


def facts(name: str) -> dict[str, Any]:
    """Configuration and circumstances of a case."""
    out: dict[str, Any] = json.loads(str(arrays(name)["config"]))
    return out


def state(name: str) -> dict[str, torch.Tensor]:
    import torch

    return {key[2:]: torch.from_numpy(value.copy()) for key, value in arrays(name).items() if key.startswith("w/")}


def configuration(name: str) -> dict[str, Any]:
    """The configuration of a case in MSST's sections, with what its code used by default."""
    case = facts(name)
    model = {**case["model_config"], "zero_dc": case["zero_dc_applied"]}
    stft = {f"stft_{key}": case["stft"][key] for key in ("n_fft", "hop_length", "win_length", "normalized")}
    stems = [f"stem {i}" for i in range(model["num_stems"])]
    return {
        "model": model | stft,
        "audio": {"sample_rate": case["sample_rate"]},
        "training": {"instruments": stems, "target_instrument": None},
    }


def checkpoint(name: str, folder: Path) -> Checkpoint:
    """The case read from a file and a yaml file, as users have them."""
    import torch
    import yaml

    from bsmamba2.checkpoint import load_checkpoint

    torch.save(state(name), folder / f"{name}.ckpt")
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(configuration(name)))
    return load_checkpoint(folder / f"{name}.ckpt", folder / f"{name}.yaml")


def spectrum_out(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The stems [b, s, t, f, c, 2] at some frames, and which frames those are."""
    data = arrays(name)
    complexes = np.stack([data["spec_out_re"], data["spec_out_im"]], axis=-1)  # [b, s, c, f, t, 2]
    return complexes.transpose(0, 1, 4, 3, 2, 5), data["spec_out_frames"]


def public_shapes() -> dict[str, dict[str, Any]]:
    """Full-size networks by name: `config` and the shape of every tensor, `shapes`."""
    with gzip.open(FOLDER / "public_shapes.json.gz", "rt") as file:
        out: dict[str, dict[str, Any]] = json.load(file)
    return out
