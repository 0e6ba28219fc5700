"""The work of all contenders: one network, different chunks of music, PyTorch's own stems."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bsmamba2.config import ModelConfig
    from bsmamba2.networks.model import BandSplitSeparator

Float = NDArray[np.float32]

# As in runtime.dsp.difference, which a machine without its packages cannot import; a test compares the two.
TOLERANCES = {"fp32": (2e-5, 90.0), "fp16": (5e-3, 50.0), "bf16": (5e-2, 35.0)}


@dataclass(frozen=True)
class Work:
    folder: str  # where the weights, inputs and engines are kept
    kind: str = "mamba2"  # one of benchmarks/networks.py
    sizes: dict[str, Any] = field(default_factory=dict)  # that replace the published ones, such as depth
    frames: int = 801
    batches: tuple[int, ...] = (1, 4, 8)
    rounds: int = 20
    device: str = "cuda"  # "cpu": a rehearsal

    @classmethod
    def of(cls, data: dict[str, Any]) -> Work:
        """From JSON."""
        return cls(**{**data, "batches": tuple(data["batches"])})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def config(self) -> ModelConfig:
        from networks import NETWORKS

        return replace(NETWORKS[self.kind][0](), **self.sizes)

    @property
    def seconds(self) -> float:
        """Of audio in a chunk."""
        stft = self.config.stft
        return (self.frames - 1) * stft.hop_length / stft.sample_rate

    def mixtures(self, io: str = "spectrum") -> Float:
        """[b, t, f, c, 2], or [b, c, samples] for `io` "wave"; as many chunks as the largest batch."""
        return np.load(self.file("mixtures", io), mmap_mode="r")

    def stems(self, io: str = "spectrum") -> Float | None:
        """PyTorch's, float32 [b, s, t, f, c, 2] or [b, s, c, samples]; None: it could not compute them."""
        path = self.file("stems", io)
        return np.load(path, mmap_mode="r") if path.exists() else None

    def file(self, what: str, io: str) -> Path:
        """Of the `what` "mixtures" or "stems"."""
        return Path(self.folder) / f"{what}-{io}.npy"

    def network(self) -> BandSplitSeparator:
        """On the CPU, with weights from a seed."""
        import torch

        from bsmamba2.networks.model import BandSplitSeparator

        torch.manual_seed(0)
        return BandSplitSeparator(self.config).eval()


def prepare(work: Work, emit: Callable[..., None]) -> None:
    """Write the inputs."""
    import torch

    from bsmamba2.networks.stft import spectrogram

    waves = music(work)
    spectra = spectrogram(torch.from_numpy(waves), work.config.stft).contiguous().numpy()
    for io, mixtures in (("spectrum", spectra), ("wave", waves)):
        work.file("stems", io).unlink(missing_ok=True)  # of other inputs
        np.save(work.file("mixtures", io), mixtures)
    emit(parameters=sum(parameter.numel() for parameter in work.network().parameters()))


def music(work: Work) -> Float:
    """Different chunks [b, c, samples]: a synthetic song each."""
    from bsmamba2.synthesis import make_song

    stft = work.config.stft
    samples = (work.frames - 1) * stft.hop_length
    songs = [make_song(samples / stft.sample_rate, stft.sample_rate, seed) for seed in range(1, max(work.batches) + 1)]
    return np.stack([song.mixture[: work.config.channels, :samples] for song in songs])


def reference(work: Work, emit: Callable[..., None]) -> None:
    """Write PyTorch's stems in float32, without TF32, each chunk by itself."""
    import torch

    from bsmamba2.networks.stft import inverse
    from on_gpu.torch_forms import TorchSession

    session = TorchSession(work, "fp32", lean=True)
    mixtures = work.mixtures()
    stems = np.concatenate([session.run(np.array(mixtures[i : i + 1])) for i in range(len(mixtures))])
    np.save(work.file("stems", "spectrum"), stems)
    np.save(work.file("stems", "wave"), inverse(torch.from_numpy(stems), work.config.stft).numpy())
    emit(executor=session.executor)


def compare(found: Float, expected: Float, precision: str) -> dict[str, Any]:
    """The worst item of a batch [b, ...], each compared by itself: error relative to its peak, SNR in dB.

    `snr_db` is None if there is no error at all. Raises ValueError for another shape, NaN or Inf.
    """
    if found.shape != expected.shape:
        raise ValueError(f"the stems have the shape {found.shape}, expected {expected.shape}")
    if not np.isfinite(found).all():
        raise ValueError("NaN or Inf in the stems")
    each = [_difference(*item) for item in zip(found, expected, strict=True)]
    worst = max(range(len(each)), key=lambda i: each[i][0])
    error, snr = each[worst][0], min(snr for _, snr in each)
    tolerance, required = TOLERANCES[precision]
    return {
        "max_error": error,
        "snr_db": snr if math.isfinite(snr) else None,
        "worst_item": worst,
        "within": bool(error <= tolerance and snr >= required),
        "tolerance": tolerance,
        "required_snr_db": required,
    }


def _difference(found: Float, expected: Float) -> tuple[float, float]:
    wanted = expected.astype(np.float64)
    error = found - wanted
    power, peak = float(np.mean(error**2)), float(np.abs(wanted).max())
    return float(np.abs(error).max()) / peak, 10 * math.log10(float(np.mean(wanted**2)) / power) if power else math.inf
