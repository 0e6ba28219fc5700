"""Typed precision: which numbers of a network are narrow and which stay float32.

`to_precision` narrows the weights of the products; everything else follows from the types of the tensors, so that the
graph traced from a narrow network states every cast. The float32 islands are where `wide` is called (the norms, dt, the
mask product) and what is computed from their results (the cumulative decays and their exponentials); the band split's
input is float32 anyway.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bsmamba2.errors import ConfigError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def wide(x: Tensor) -> Tensor:
    """`x` in float32, or as it is if it is that wide already."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def to_precision(model: nn.Module, precision: str) -> None:
    """Hold the weights of linear layers and convolutions in `precision`: "fp32", "fp16" or "bf16".

    The few other parameters (norm weights, A, D, dt bias, rotary frequencies) stay float32. Raises ConfigError.
    """
    if precision not in DTYPES:
        raise ConfigError(f"precision {precision!r}: expected one of {', '.join(DTYPES)}")
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d) or getattr(module, "is_product", False):
            module.to(DTYPES[precision])
