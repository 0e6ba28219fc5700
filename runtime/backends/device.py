"""`--device`: what runs an engine, and which GPU or processor of the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.errors import OptionError

DEVICES = ("auto", "cpu", "cuda", "tensorrt", "openvino")
NUMBERED = ("cuda", "tensorrt")  # a GPU's number may follow, as in cuda:1
PROCESSORS = ("CPU", "GPU", "NPU")  # one may follow openvino, by OpenVINO's name for it
METAVAR = "|".join(
    f"{kind}[:N]" if kind in NUMBERED else f"{kind}[:{'|'.join(PROCESSORS)}]" if kind == "openvino" else kind
    for kind in DEVICES
)
HINTS = ("f32", "f16", "bf16")  # what OpenVINO computes in


@dataclass(frozen=True)
class Device:
    kind: str  # one of DEVICES
    index: int = 0  # the number of the GPU, as CUDA counts them; the CPU has none
    processor: str = PROCESSORS[0]  # of OpenVINO

    def __str__(self) -> str:
        if self.kind == "openvino":
            return f"{self.kind}:{self.processor}"
        return f"{self.kind}:{self.index}" if self.index else self.kind


def parse_device(text: str) -> Device:
    """One of DEVICES, `cuda:N` or `tensorrt:N` for GPU N (without a number GPU 0), or `openvino:` and one of PROCESSORS
    (without one the CPU). Raises OptionError.
    """
    if text in DEVICES:
        return Device(text)
    kind, _, which = text.partition(":")
    if kind == "openvino" and which in PROCESSORS:
        return Device(kind, processor=which)
    if kind in NUMBERED and re.fullmatch("[0-9]{1,3}", which):
        return Device(kind, int(which))
    raise OptionError(
        f"--device {text}: must be {', '.join(DEVICES[:-1])} or {DEVICES[-1]}, or name a GPU, as in cuda:1, or a "
        f"processor of OpenVINO's: {', '.join(f'openvino:{each}' for each in PROCESSORS)}"
    )
