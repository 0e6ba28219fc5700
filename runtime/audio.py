"""Songs in and stems out: files through libsndfile, sample rates through soxr."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from runtime.errors import AudioError

Float = NDArray[np.float32]

SUBTYPES = ("FLOAT", "PCM_24", "PCM_16")
MIN_RATE, MAX_RATE = 1000, 768_000  # Hz
MAX_LEVEL = 1e9  # of a sample, full scale 1.0: far above any song, far below what overflows a spectrum


@dataclass(frozen=True)
class Song:
    audio: Float  # [c, samples]
    sample_rate: int  # Hz


def read_song(path: Path) -> Song:
    """Read WAV, FLAC, OGG, MP3 or whatever else libsndfile knows. Raises AudioError."""
    if not path.is_file():
        found = "does not exist" if not path.exists() else "is a folder" if path.is_dir() else "is not a file"
        raise AudioError(f"{path}: {found}: expected a song")
    try:
        # As bytes: a name need not be valid text.
        audio, sample_rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError, MemoryError) as error:
        reason = str(error).split(": ", 1)[-1].rstrip(".") or type(error).__name__
        raise AudioError(f"{path}: cannot be read as audio ({reason})") from error
    if not len(audio):
        raise AudioError(f"{path}: holds no samples")
    if not np.abs(audio).max() <= MAX_LEVEL:
        raise AudioError(f"{path}: holds NaN, Inf or samples beyond {MAX_LEVEL:.0e}: repair the file first")
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"{path}: has a sample rate of {sample_rate} Hz: expected {MIN_RATE} to {MAX_RATE}")
    return Song(np.ascontiguousarray(audio.T), int(sample_rate))


def resample(audio: Float, source: int, target: int, samples: int | None = None) -> Float:
    """[c, samples] at `source` Hz to `target` Hz; cut or zero-padded to `samples` if given."""
    if source != target:
        audio = np.ascontiguousarray(soxr.resample(audio.T, source, target, quality="VHQ").T)
    if samples is not None and audio.shape[1] != samples:
        audio = np.pad(audio[:, :samples], ((0, 0), (0, max(0, samples - audio.shape[1]))))
    return audio.astype(np.float32, copy=False)


def write_wav(path: Path, audio: Float, sample_rate: int, subtype: str) -> int:
    """Write [c, samples] to `path` by way of a file beside it, so that `path` is never half written.

    Returns how many samples an integer `subtype` had to clip. Raises AudioError.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".bsm-", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({error.strerror})") from error
    part = Path(name)
    try:
        soundfile.write(part, audio.T, sample_rate, subtype=subtype, format="WAV")
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise AudioError(f"{path}: cannot be written ({error})") from error
    finally:
        part.unlink(missing_ok=True)
    return 0 if subtype == "FLOAT" else int(np.count_nonzero(np.abs(audio) > 1.0))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
