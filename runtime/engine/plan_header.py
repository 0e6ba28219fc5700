"""The header of a TensorRT-RTX plan, which can be read without a GPU and before the plan is loaded.

Layout found in plans of TensorRT-RTX 1.7: `vtrt` at 0, u64 size of the file at 16, the version's four parts at 24, u32
mask of compute capabilities at 32, all little-endian. Plans of full TensorRT begin differently, with an undocumented
header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import EngineError

MAGIC = b"vtrt"
LENGTH = 64
# Compute capabilities, by bit number in the mask.
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


@dataclass(frozen=True)
class PlanHeader:
    bytes: int  # of the whole plan
    version: str  # of the TensorRT-RTX that built it, in four parts
    compute_capabilities: list[str]


def is_rtx_plan(start: bytes) -> bool:
    """Whether a file that begins with `start` is a plan of TensorRT-RTX."""
    return start[: len(MAGIC)] == MAGIC


def read_plan_header(plan: Path) -> PlanHeader:
    """The header of the TensorRT-RTX plan in file `plan`. Raises EngineError unless it is one of its whole length."""
    with plan.open("rb") as file:
        return header_of(plan, file.read(LENGTH), plan.stat().st_size)


def header_of(plan: Path, start: bytes, found: int) -> PlanHeader:
    """The header of `plan`, a file of `found` bytes that begins with `start`. Raises EngineError as above."""
    if not is_rtx_plan(start) or len(start) < LENGTH:
        raise EngineError(f"{plan}: not a TensorRT-RTX plan, or it was changed")
    (size,) = struct.unpack_from("<Q", start, 16)
    (mask,) = struct.unpack_from("<I", start, 32)
    if size != found:
        raise EngineError(f"{plan}: has {found} bytes, its header says {size}: it was cut short or changed")
    unknown = mask >> len(CAPABILITIES)
    if unknown or not mask:
        raise EngineError(f"{plan}: its header has unknown compute capabilities (mask {mask:#x})")
    named = [each for bit, each in enumerate(CAPABILITIES) if mask >> bit & 1]
    return PlanHeader(size, ".".join(str(part) for part in start[24:28]), named)
