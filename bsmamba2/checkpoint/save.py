"""The checkpoint format of this project: safetensors with the official names, the configuration in the metadata."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from bsmamba2.networks.model import BandSplitSeparator

METADATA_KEY = "bsmamba2.config"


def save_checkpoint(model: BandSplitSeparator, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write `model` to `path` (.safetensors), with weights in `dtype`."""
    state = {key: value.detach().to(dtype).clone().contiguous() for key, value in model.state_dict().items()}
    save_file(state, path, metadata={METADATA_KEY: json.dumps(model.config.to_dict())})
