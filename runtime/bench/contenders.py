"""What is measured: a `Contender` is sent to a process of its own and opened there.

Engines are here; the network in PyTorch and an engine's matrix products, which need more packages, are in
export/checks/.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from runtime.audio import Form, SongWriter, read_song
from runtime.backends import Backend, open_backend
from runtime.dsp.stft import Stft
from runtime.engine.manifest import Manifest
from runtime.engine.reading import read_manifest
from runtime.separation.separator import Separator

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Work:
    """The input of one run."""

    frames: int  # STFT frames of a chunk
    batch: int  # chunks
    seconds: float  # of audio in all chunks
    io: str = "spectrum"  # "wave": from waveforms to waveforms, whatever the contender takes itself

    @classmethod
    def of(cls, manifest: Manifest, frames: int, batch: int, io: str) -> Work:
        stft = manifest.stft
        return cls(frames, batch, batch * (frames - 1) * stft.hop_length / stft.sample_rate, io)


class Session(Protocol):
    """An opened contender."""

    executor: str  # library and version that run it

    def run(self, work: Work) -> float:
        """Seconds it took."""
        ...


class Contender(Protocol):
    """What is measured. Must be picklable, and import what it needs in `open`, where the imports are measured."""

    @property
    def name(self) -> str: ...

    @property
    def work(self) -> Work:
        """The work on which the contenders are compared."""
        ...

    @property
    def optional(self) -> bool:
        """Whether the measurement continues without it if it fails."""
        ...

    def open(self) -> Session: ...


class Mixtures:
    """Random inputs, the same for every contender; the latest one is kept."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._latest: tuple[Work, Float] | None = None

    def of(self, work: Work) -> Float:
        """Spectrograms [b, t, f, c, 2] or waveforms [b, c, samples]."""
        if self._latest is None or self._latest[0] != work:
            shape = replace(self._manifest, io=work.io).input_shape(work.batch, work.frames)
            self._latest = work, np.random.default_rng(0).standard_normal(shape, np.float32)
        return self._latest[1]


@dataclass(frozen=True)
class EngineContender:
    """An engine, run as by bsm-run."""

    name: str
    path: Path
    work: Work
    threads: int | None
    device: str
    folder: Path  # for temporary sound files
    precision_hint: str | None = None
    optional: bool = False

    def open(self) -> EngineSession:
        manifest = read_manifest(self.path, to_open=True)
        backend = open_backend(self.path, manifest, self.threads, self.device, self.precision_hint)
        return EngineSession(backend, manifest, self.folder, self.threads)


class EngineSession:
    def __init__(self, backend: Backend, manifest: Manifest, folder: Path, threads: int | None) -> None:
        self.executor = backend.name
        self._backend, self._manifest, self._folder, self._threads = backend, manifest, folder, threads
        self._mixtures = Mixtures(manifest)
        self._stft = Stft.of(manifest.stft, threads)

    def run(self, work: Work) -> float:
        """Seconds from the mixture in memory to the stems in memory."""
        mixture = self._mixtures.of(work)
        start = time.perf_counter()
        if work.io == self._manifest.io:
            self._backend.run(mixture)
        else:
            self._stft.inverse(self._backend.run(self._stft.forward(mixture)))
        return time.perf_counter() - start

    def stages(self, work: Work) -> dict[str, float]:
        """Seconds of each stage from a WAV file of `work.batch` chunks of the engine's own length to stem files."""
        stft, channels = self._manifest.stft, self._manifest.model.channels
        samples = work.batch * self._manifest.chunk_samples
        song, stem = self._folder / "song.wav", self._folder / "stem.wav"
        noise = 0.1 * np.random.default_rng(0).standard_normal((samples, channels), np.float32)
        soundfile.write(song, noise, stft.sample_rate, subtype="FLOAT")
        separator = Separator(self._backend, self._manifest, overlap=0.0, batch=work.batch, threads=self._threads)
        start = time.perf_counter()
        with separator.times.stage("read"):
            mixture = read_song(song)
        stems = separator.separate(mixture.audio, mixture.sample_rate)
        with separator.times.stage("write"):
            for audio in stems.values():
                with SongWriter(stem, mixture.sample_rate, channels, Form("WAV", "FLOAT")) as out:
                    out.write(audio)
        total = time.perf_counter() - start
        times = separator.times.seconds
        seconds = {name: times[name] for name in ("read", "stft", "engine", "istft", "write")}
        return {**seconds, "other": max(0.0, total - sum(seconds.values()))}


def engine_name(path: Path, others: list[Path], taken: set[str]) -> str:
    """A name that distinguishes the engine at `path` from `others`: its file name, or its whole path if necessary."""
    name = path.name if sum(each.name == path.name for each in others) == 1 else str(path)
    unique, number = name, 2
    while unique in taken:  # an engine may be given twice, to see how much its timings vary
        unique, number = f"{name} ({number})", number + 1
    return unique
