"""The note for an engine that runs on the other kind of hardware than it was laid out for."""

from __future__ import annotations


def layout_note(target: str) -> str:
    """`target` is what it was laid out for, one of `TARGETS`."""
    if target == "cpu":
        return (
            "the engine is laid out for CPUs, slice by slice, which is slow on a GPU: export it again with "
            "bsm-export --target gpu"
        )
    return (
        "the engine is laid out for GPUs, all sequences at once, which takes several times the memory on a CPU: "
        "export it again with bsm-export --target cpu"
    )
