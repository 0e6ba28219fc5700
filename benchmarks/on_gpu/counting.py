"""How much a network has to do: the arithmetic of its products, and the bytes that an ideal pass moves.

An ideal pass does everything between two products in passing. A product reads its operands and writes its result once;
so does the scan (x, dt, B, C in, y out) and attention (q, k, v in, y out), whose inner results stay on the chip. The
network itself is followed on the meta device, which computes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bsmamba2.config import ModelConfig
from bsmamba2.networks.mamba2 import Mamba2
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.precision import to_precision
from bsmamba2.networks.scan import chunked_scan
from on_gpu.work import Work

PRODUCTS = {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "einsum"}


@dataclass(frozen=True)
class Part:
    """A product, a scan or an attention; `count` of them are alike."""

    flops: int  # multiplications and additions
    bytes: int
    count: int = 1


class Following(TorchFunctionMode):
    """Collects the parts of what is computed under it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Part] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            q, k, v = args[:3]
            flops = 2 * k.shape[-2] * (q.numel() + q.numel() // q.shape[-1] * v.shape[-1])
            self.parts.append(Part(flops, size_of(q, k, v, out)))
        elif name in PRODUCTS:
            if name not in ("linear", "matmul", "__matmul__"):
                raise NotImplementedError(f"{name}: its arithmetic is not counted")
            self.parts.append(Part(2 * args[0].shape[-1] * out.numel(), size_of(*args, out)))
        return out


def size_of(*tensors: Any) -> int:
    return sum(each.nbytes for each in tensors if isinstance(each, Tensor))


def parts_of(config: ModelConfig, precision: str, frames: int, batch: int) -> list[Part]:
    """The parts of one run of the network on `batch` chunks."""
    model = BandSplitSeparator(config).to("meta")
    mixture = torch.empty(batch, frames, config.stft.bins, config.channels, 2, device="meta")
    to_precision(model, precision)
    following = Following()
    for module in model.modules():
        if isinstance(module, Mamba2):
            module.form = module.form._replace(scan=_as_one_part(following))
    with torch.inference_mode(), following:
        stems = model(mixture)
    following.parts.append(Part(0, size_of(mixture, stems)))  # the masks times the mixture
    return [Part(*each, count) for each, count in Counter((p.flops, p.bytes) for p in following.parts).items()]


def _as_one_part(following: Following) -> Callable[..., Tensor]:
    """The chunked scan, counted as one part: its products' arithmetic, its own input and output."""

    def scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        outside, following.parts = following.parts, []
        y = chunked_scan(x, dt, a, b, c)
        inside, following.parts = following.parts, outside
        following.parts.append(Part(sum(part.flops for part in inside), size_of(x, dt, a, b, c, y)))
        return y

    return scan


def count(work: Work, emit: Callable[..., None]) -> None:
    """Emits the parts for every precision and batch size."""
    for precision in ("fp32", "fp16", "bf16"):
        for batch in work.batches:
            parts = parts_of(work.config, precision, work.frames, batch)
            emit(parts={"precision": precision, "batch": batch, "parts": [asdict(part) for part in parts]})
