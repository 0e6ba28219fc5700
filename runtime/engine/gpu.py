"""The NVIDIA GPU of this machine, found with cuda-python; or why CUDA does not start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

# CUDA's major version -> the first driver release for it
DRIVERS = {12: "r525", 13: "r580"}


@dataclass(frozen=True)
class Gpu:
    name: str
    capability: str  # compute capability, such as "8.9"
    index: int = 0  # CUDA's number of it


def find_gpu(index: int | None = None) -> tuple[Gpu | None, str]:
    """GPU `index`, or the default one; or None and why there is none, as a clause: "there is no NVIDIA driver"."""
    try:
        from cuda.bindings import runtime as cudart
    except Exception as failure:  # an unsuitable library raises one of many exceptions
        return None, f"cuda-python cannot be loaded ({failure})"
    success = cudart.cudaError_t.cudaSuccess
    try:
        error, number = (success, index) if index is not None else cudart.cudaGetDevice()
        if error == success:
            error, properties = cudart.cudaGetDeviceProperties(number)
        if error != success:
            return None, _why(cudart, error)
    except RuntimeError as failure:  # raised by cuda-python 12 if there is no driver
        return None, f"there is no NVIDIA driver ({failure})"
    return Gpu(properties.name.decode(errors="replace"), f"{properties.major}.{properties.minor}", number), ""


def _why(cudart: Any, error: Any) -> str:
    """What is missing, after CUDA refused with `error`."""
    _, driver = cudart.cudaDriverGetVersion()  # 0 without a driver; works with a driver that is too old
    _, needed = cudart.cudaRuntimeGetVersion()  # of the installed cuda-python; both as 1000 * major + 10 * minor
    if not driver:
        return "there is no NVIDIA driver"
    if driver // 1000 < needed // 1000:
        return _too_old(driver, needed // 1000)
    if error == cudart.cudaError_t.cudaErrorNoDevice:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = "" if visible is None else f": CUDA_VISIBLE_DEVICES is {visible!r}"
        return f"there is no NVIDIA GPU ({error.name}{hidden})"
    return f"CUDA does not start ({error.name})"


def _too_old(driver: int, needed: int) -> str:
    older, release = driver // 1000, f" to {DRIVERS[needed]} or later" if needed in DRIVERS else ""
    extras = ", or pip install 'bsmamba2[tensorrt-rtx-cu12]' or '[tensorrt-cu12]' in a new environment"
    return (
        f"the NVIDIA driver is for CUDA {older}.{driver % 1000 // 10}, and the installed packages need CUDA {needed}: "
        f"update the driver{release}{extras if older == 12 else ''}"
    )
