"""How many processes share this machine, and what each gets of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.backends.device import parse_device
from runtime.engine.cpu import check_threads, default_threads
from runtime.engine.memory import available_memory
from runtime.errors import EngineError, OptionError

AUTO = "auto"
MAX_JOBS = 1024
RESERVE = 1.25  # of the memory measured at the first of a worker's work, for songs that need more


def parse_jobs(text: str) -> int | None:
    """The number, or None for "auto". Raises OptionError."""
    if text == AUTO:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_JOBS:
        raise OptionError(f"--jobs {text}: must be {AUTO} or a number from 1 to {MAX_JOBS}")
    return int(text)


def may_use_gpu(engine: Path, device: str) -> bool:
    """Whether `engine` runs, or may run, on a GPU. Raises OptionError for no device."""
    kind = parse_device(device).kind
    if engine.suffix.lower() == ".plan" or kind in ("cuda", "tensorrt"):
        return True
    try:
        from runtime.backends.ort import ort
        from runtime.backends.providers import CUDA
    except EngineError:  # what opens the engine says so
        return False
    return kind == "auto" and CUDA in ort.get_available_providers()


def cores_for(threads: int | None) -> int:
    """Processes that fill the cores, with `threads` each (None: 1)."""
    return max(1, (default_threads() or 1) // (1 if threads is None else check_threads(threads)))


def with_threads(options: dict[str, Any], jobs: int, on_gpu: bool) -> dict[str, Any]:
    """`options` of an engine, of which `jobs` share the cores, unless they say how many threads it has."""
    if on_gpu or options.get("threads") is not None:
        return options
    return options | {"threads": max(1, (default_threads() or 1) // jobs)}


class Measured:
    """`Sizing` for --jobs auto: as many workers as cores and memory allow, and no more than there are `songs`."""

    def __init__(self, options: dict[str, Any], songs: int) -> None:
        self.options = options
        self.most = min(cores_for(options.get("threads")), songs)

    def __call__(self, peak: int | None) -> tuple[int, dict[str, Any]]:
        available = available_memory()
        jobs = self.most
        if peak is not None and available is not None:
            jobs = max(1, min(jobs, 1 + int(available / (RESERVE * peak))))  # the first one has its memory already
        return jobs, with_threads(self.options, jobs, on_gpu=False)
