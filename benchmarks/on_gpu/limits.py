"""What a GPU can do at most, as NVIDIA publishes it, and how near a measured time comes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    bytes_per_second: float  # between the chip and its memory
    flops_per_second: dict[str, float]  # by precision; of float32 without TF32, of 16 bits with float32 sums
    source: str

    def seconds(self, parts: Sequence[dict[str, Any]], precision: str) -> float | None:
        """The least time for these parts (`on_gpu.counting.Part`), one after the other; None: unknown."""
        flops = self.flops_per_second.get(precision)
        if not parts or not flops:
            return None
        return sum(part["count"] * max(part["flops"] / flops, part["bytes"] / self.bytes_per_second) for part in parts)


def _published(terabytes: float, half: float, single: float, source: str, bf16: bool = True) -> Limits:
    """From TB/s and TFLOP/s without sparsity."""
    flops = {"fp32": single * 1e12, "fp16": half * 1e12, **({"bf16": half * 1e12} if bf16 else {})}
    return Limits(terabytes * 1e12, flops, source)


H100 = "NVIDIA H100 Tensor Core GPU datasheet"
A100 = "NVIDIA A100 Tensor Core GPU datasheet"
# The names are those that CUDA gives. Datasheets give 16-bit figures with sparsity for H100, H200 and L4: half of them
# is meant here.
PUBLISHED = {
    "NVIDIA H100 80GB HBM3": _published(3.35, 989, 67, f"{H100}, SXM"),
    "NVIDIA H100 NVL": _published(3.9, 835, 60, f"{H100}, NVL"),
    "NVIDIA H100 PCIe": _published(2.0, 756, 51, f"{H100}, PCIe"),
    "NVIDIA H200": _published(4.8, 989, 67, "NVIDIA H200 Tensor Core GPU datasheet, SXM"),
    "NVIDIA A100-SXM4-80GB": _published(2.039, 312, 19.5, f"{A100}, 80 GB SXM"),
    "NVIDIA A100 80GB PCIe": _published(1.935, 312, 19.5, f"{A100}, 80 GB PCIe"),
    "NVIDIA A100-SXM4-40GB": _published(1.555, 312, 19.5, f"{A100}, 40 GB SXM"),
    "NVIDIA A100-PCIE-40GB": _published(1.555, 312, 19.5, f"{A100}, 40 GB PCIe"),
    "NVIDIA L4": _published(0.3, 121, 30.3, "NVIDIA L4 Tensor Core GPU datasheet"),
    "NVIDIA A10": _published(0.6, 125, 31.2, "NVIDIA A10 Tensor Core GPU datasheet"),
    "Tesla T4": _published(0.32, 65, 8.1, "NVIDIA T4 Tensor Core GPU datasheet", bf16=False),
    "NVIDIA GeForce RTX 4090": _published(1.008, 165.2, 82.6, "NVIDIA Ada GPU architecture whitepaper"),
    "NVIDIA GeForce RTX 5090": _published(1.792, 209.5, 104.8, "NVIDIA RTX Blackwell GPU architecture whitepaper"),
}


def published(gpu: str | None) -> Limits | None:
    return None if gpu is None else PUBLISHED.get(gpu)


def measured(chip: dict[str, Any] | None) -> Limits | None:
    """From what the GPU itself did: the best copy and the best large product."""
    if not chip:
        return None
    return Limits(chip["bytes_per_second"], chip.get("flops_per_second", {}), "measured on this GPU")
