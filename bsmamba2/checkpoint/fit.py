"""Checks that the tensors of a checkpoint are exactly the parameters of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bsmamba2.config import ModelConfig
from bsmamba2.errors import CheckpointError
from bsmamba2.networks.model import BandSplitSeparator

LISTED = 8  # keys shown per list


def require_fit(state: Mapping[str, Tensor], config: ModelConfig, where: str) -> None:
    """Raise one CheckpointError that lists missing and unexpected keys and wrong shapes, with the most likely cause."""
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in BandSplitSeparator(config).state_dict().items()}
    missing = [f"{key} {_shape(shape)}" for key, shape in expected.items() if key not in state]
    extra = [f"{key} {_shape(value.shape)}" for key, value in state.items() if key not in expected]
    misshapen = [
        f"{key}: expected {_shape(shape)}, found {_shape(state[key].shape)}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    if not (missing or extra or misshapen):
        return
    lines = [f"{where}: the tensors do not match the network that its configuration describes"]
    for title, keys in (("missing", missing), ("unexpected", extra), ("of the wrong shape", misshapen)):
        if keys:
            shown = keys[:LISTED] + ([f"... and {len(keys) - LISTED} more"] if len(keys) > LISTED else [])
            lines += [f"  {len(keys)} {title}:", *(f"    {line}" for line in shown)]
    lines.append(f"  most likely cause: {_cause(missing, extra)}")
    raise CheckpointError("\n".join(lines))


NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def as_float32(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """`state` in float32. Raises CheckpointError unless every tensor holds finite floating-point numbers."""
    out = {}
    for key, value in state.items():
        if value.dtype not in NUMBERS or value.layout != torch.strided or value.device.type != "cpu":
            found = f"{value.dtype}, {value.layout}, on {value.device}"
            raise CheckpointError(f"{where}: {key} is {found}: expected floating-point numbers")
        out[key] = value.float()
        if not torch.isfinite(out[key]).all():
            raise CheckpointError(
                f"{where}: {key} contains NaN, Inf or numbers beyond float32: the training had diverged"
            )
    return out


def _cause(missing: list[str], extra: list[str]) -> str:
    if any(".mlp" in key or "norm2" in key for key in extra):
        return "it was trained with mamba_gmlp or another unsupported option"
    if missing and not extra:
        return "the file is incomplete: it was cut short, or only part of the network was saved"
    return "it was written by other code than BSMamba2, BS-RoFormer (PyPI), MSST or UVR"


def _shape(shape: Any) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
