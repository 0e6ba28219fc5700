"""The NVIDIA GPU of this machine, found with cuda-python."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    name: str
    capability: str  # compute capability, such as "8.9"


def find_gpu(index: int | None = None) -> tuple[Gpu | None, str]:
    """GPU `index`, or the default one; or None and why there is none."""
    try:
        from cuda.bindings import runtime as cudart
    except Exception as failure:  # an unsuitable library raises one of many exceptions
        return None, f"cuda-python cannot be loaded ({failure})"
    try:
        error, device = cudart.cudaGetDevice()
        if error == cudart.cudaError_t.cudaSuccess:
            error, properties = cudart.cudaGetDeviceProperties(device if index is None else index)
    except RuntimeError as failure:  # raised by cuda-python 12 if there is no driver
        return None, f"no NVIDIA driver: {failure}"
    if error != cudart.cudaError_t.cudaSuccess:
        return None, error.name
    return Gpu(properties.name.decode(errors="replace"), f"{properties.major}.{properties.minor}"), ""
