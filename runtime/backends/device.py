"""`--device`: what runs an engine, and which GPU of the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.errors import OptionError

DEVICES = ("auto", "cpu", "cuda", "tensorrt")
NUMBERED = ("cuda", "tensorrt")  # a GPU's number may follow, as in cuda:1
METAVAR = "|".join(f"{kind}[:N]" if kind in NUMBERED else kind for kind in DEVICES)


@dataclass(frozen=True)
class Device:
    kind: str  # one of DEVICES
    index: int = 0  # the number of the GPU, as CUDA counts them; the CPU has none

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}" if self.index else self.kind


def parse_device(text: str) -> Device:
    """One of DEVICES, or `cuda:N` or `tensorrt:N` for GPU N; without a number it is GPU 0. Raises OptionError."""
    if text in DEVICES:
        return Device(text)
    match = re.fullmatch(rf"({'|'.join(NUMBERED)}):([0-9]{{1,3}})", text)
    if match is None:
        raise OptionError(
            f"--device {text}: must be {', '.join(DEVICES[:-1])} or {DEVICES[-1]}, or name a GPU, as in cuda:1"
        )
    return Device(match[1], int(match[2]))
