"""An engine for workers in processes of their own: slow if asked, and deadly to the process for a song that is loud."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import soundfile
from fakes import separator_of

from runtime.errors import EngineError

LOUD = 1000.0


def opened(engine: Path, *, seconds: float = 0.0, threads: int | None = None, fails: str = "") -> object:
    """An `Opener`: stems are half the mixture, each chunk of which takes `seconds`."""
    if fails == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if fails:
        raise EngineError(f"{engine}: {fails}")

    def function(mixture):
        time.sleep(seconds)
        if np.abs(mixture).max() > LOUD:
            os.kill(os.getpid(), signal.SIGKILL)
        return mixture[:, None] / 2

    return separator_of(function=function)


def poison(path: Path) -> None:
    audio = np.random.default_rng(0).uniform(-LOUD, LOUD, (9000, 2))
    soundfile.write(path, audio, 44100, subtype="FLOAT")
