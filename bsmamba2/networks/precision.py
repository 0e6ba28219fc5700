"""Typed precision: which numbers of a network are 16-bit and which stay float32.

`to_precision` converts the weights of matrix products and convolutions; all else follows from the tensors' types, so
that the graph traced from a 16-bit network states every cast. Parts in float32: where `wide` is called (the norms, dt,
the mask product) and everything computed from these results (the cumulative decays and their exponentials). The input
of the band split is float32 in any case.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bsmamba2.errors import ConfigError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def wide(x: Tensor) -> Tensor:
    """`x` in float32 if it is 16-bit, otherwise unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def to_precision(model: nn.Module, precision: str) -> None:
    """Convert the weights of linear layers and convolutions to `precision`: "fp32", "fp16" or "bf16".

    The few other parameters (norm weights, A, D, dt bias, rotary frequencies) stay float32. Raises ConfigError.
    """
    if precision not in DTYPES:
        raise ConfigError(f"precision {precision!r}: must be one of {', '.join(DTYPES)}")
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d) or getattr(module, "is_product", False):
            module.to(DTYPES[precision])
