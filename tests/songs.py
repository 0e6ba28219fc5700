"""Sound files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def song(path: str | Path, channels: int = 2, rate: int = 44100, samples: int = 10000) -> np.ndarray:
    """Noise into a new file, 32-bit floats where it is WAV; returns it, [samples, channels]."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    audio = np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels)).astype(np.float32)
    soundfile.write(path, audio, rate, subtype="FLOAT" if str(path).endswith("wav") else None)
    return audio
