"""Checkpoints as the official code writes them, around the networks of the golden data."""

from __future__ import annotations

from pathlib import Path

import golden_data
import torch
from omegaconf import OmegaConf


def lightning_file(path: Path, name: str) -> dict[str, torch.Tensor]:
    """A file as Lightning 2.4 writes it for the official code; the averaged weights are the raw ones + 1.

    Returns the raw ones.
    """
    model = golden_data.network(name)
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    for key in ("featurizer.window", "inverse_featurizer.window", "multi_featurizer.0.window"):
        state[key] = torch.hann_window(2048)
    averaged = tuple(parameter.detach() + 1.0 for parameter in model.parameters())
    config = golden_data.config(name)
    hyper_parameters = {
        "model": {
            "module_type": config.kind,
            "dim": config.dim,
            "depth": config.depth,
            "stereo": config.channels == 2,
            "num_stems": 1,
            "mask_estimator_depth": 2,
            "heads": config.heads,
            "dim_head": config.dim_head,
            "mamba_gmlp": False,
        },
        "featurizer": {"n_fft": 2048, "hop_length": 441, "win_length": "${featurizer.n_fft}"},
        "opt": {"lr": 5e-4},
    }
    content = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": state,
        "loops": {},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.0), "dirpath": Path("checkpoints")}},
        "optimizer_states": [{"opt": {}, "ema": averaged, "current_step": 100, "decay": 0.999, "every_n_steps": 1}],
        "lr_schedulers": [],
        "hparams_name": "hparams",
        "hyper_parameters": OmegaConf.create(hyper_parameters),
    }
    torch.save(content, path)
    return dict(model.state_dict())


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
