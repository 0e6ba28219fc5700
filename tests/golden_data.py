"""Golden data of the official code, in this project's axes (see tests/golden/README.md)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:  # PyTorch takes seconds to import, and the tests of runtime take arrays only
    import torch

    from bsmamba2.config import ModelConfig
    from bsmamba2.networks.model import BandSplitSeparator

FOLDER = Path(__file__).parent / "golden"
SHARED_AUDIO = Path(__file__).parents[2] / "shared" / "audio"  # real songs beside the repository, if they are there

# case -> (files, tolerance: largest difference relative to the peak, in float32)
CASES = {
    "a": (("a_mamba2_d32_L2_stereo",), 5e-6),
    "b": (("b_mamba2_d64_L1_stereo_long_io", "b_mamba2_d64_L1_stereo_long_weights"), 2e-5),
    "c": (("c_mamba2_d32_L1_mono_batch2",), 5e-6),
    "d": (("d_transformer_d48_L2_h2_dh24",), 5e-6),
    "f": (("f_mamba2roformer_d32_L1",), 5e-6),
}
LONG = {"b": pytest.mark.seconds}
NAMES = [pytest.param(name, marks=LONG.get(name, ())) for name in CASES]  # for parametrize


@cache
def arrays(*names: str) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for name in names:
        with np.load(FOLDER / f"{name}.npz") as file:
            out |= {key: file[key] for key in file.files}
    return out


def case(name: str) -> dict[str, np.ndarray]:
    return arrays(*CASES[name][0])


def state(name: str) -> dict[str, torch.Tensor]:
    import torch

    return {key[2:]: torch.from_numpy(value.copy()) for key, value in case(name).items() if key.startswith("w/")}


def config(name: str) -> ModelConfig:
    from bsmamba2.config import ModelConfig

    model: dict[str, Any] = json.loads(str(case(name)["config"]))["model_config"]
    sizes = {key: model[key] for key in ("dim", "depth", "heads", "dim_head") if key in model}
    return ModelConfig(kind=model["module_type"], channels=2 if model["stereo"] else 1, **sizes)


def network(name: str) -> BandSplitSeparator:
    from bsmamba2.networks.model import BandSplitSeparator

    model = BandSplitSeparator(config(name))
    model.load_state_dict(state(name))
    return model.eval()


def wave_in(name: str) -> np.ndarray:
    """[b, c, samples]"""
    return case(name)["wave_in"]


def wave_out(name: str) -> np.ndarray:
    """[b, s, c, samples]"""
    return case(name)["wave_out"]


def spectrum_out(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The stems [b, s, t, f, c, 2] at some frames, and which frames those are."""
    data = case(name)
    complexes = np.stack([data["spec_out_re"], data["spec_out_im"]], axis=-1)  # [b, s, c, f, t, 2]
    return complexes.transpose(0, 1, 4, 3, 2, 5), data["spec_out_frames"]


def relative_error(found: np.ndarray, reference: np.ndarray) -> float:
    assert found.shape == reference.shape
    return float(np.abs(found - reference).max() / np.abs(reference).max())
