"""`open_separator`: from an engine file to a function that separates songs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.audio import MAX_LEVEL, MAX_RATE, MIN_RATE, resample
from runtime.backends import Backend, Pending, open_backend
from runtime.chunks import ChunkPlan, OverlapAdd
from runtime.errors import EngineError, NumericsError, OptionError
from runtime.manifest import Manifest, read_manifest
from runtime.stft import Stft
from runtime.timing import StageTimes

Float = NDArray[np.float32]

DEFAULT_OVERLAP = 0.25
Group = list[tuple[int, int]]  # chunks given to the engine together: (mixture, chunk) each
INSTRUMENTAL = "instrumental"  # the mixture without the vocals


class Separator:
    """Separates songs with one engine. Not thread-safe: use one in each thread.

    `times` holds the seconds spent so far in each stage: resample, stft, engine, istft.
    """

    def __init__(
        self, backend: Backend, manifest: Manifest, overlap: float = DEFAULT_OVERLAP, batch: int | None = None
    ) -> None:
        batch = manifest.batch.opt if batch is None else batch
        if not manifest.batch.min <= batch <= manifest.batch.max:
            raise OptionError(
                f"batch {batch}: this engine takes {manifest.batch.min} to {manifest.batch.max} chunks at a time"
            )
        ChunkPlan.of(1, manifest.chunk_samples, overlap)  # refuses a bad overlap now rather than at the first song
        self.backend = backend
        self.manifest = manifest
        self.overlap = overlap
        self.batch = batch
        self.times = StageTimes()
        self._stft = Stft(manifest.stft.n_fft, manifest.stft.hop_length)

    @property
    def stems(self) -> list[str]:
        """The stems `separate` can give: the network's, and "instrumental" where it has vocals."""
        stems = list(self.manifest.model.stems)
        return [*stems, INSTRUMENTAL] if "vocals" in stems and INSTRUMENTAL not in stems else stems

    def separate(
        self,
        audio: Float,
        sample_rate: int,
        stems: list[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Float]:
        """Separate `audio` [c, samples] or [samples] (mono), full scale 1.0, at `sample_rate` Hz.

        Gives `stems` (all of them by default) by name, each of the shape and rate of `audio`. `progress` is called
        with the chunks done and their number. A mono song goes to a stereo engine as two equal channels, whose mean
        comes back; the channels of a stereo song go to a mono engine one by one. Raises OptionError, EngineError.
        """
        if not np.issubdtype(np.asarray(audio).dtype, np.floating):
            raise OptionError(f"audio of {np.asarray(audio).dtype}: expected floating-point samples, full scale 1.0")
        audio = np.asarray(audio, np.float32)
        song = audio[None] if audio.ndim == 1 else audio
        self._check(song, sample_rate)
        wanted = self.stems if stems is None else stems
        unknown = [stem for stem in wanted if stem not in self.stems]
        if unknown or not wanted:
            raise OptionError(f"stems {', '.join(unknown) or 'none'}: this engine gives {', '.join(self.stems)}")

        rate = self.manifest.stft.sample_rate
        with self.times.stage("resample"):
            mixture = resample(song, sample_rate, rate)
        estimates = self._estimate(mixture, progress)  # [s, c, samples]
        with self.times.stage("resample"):
            out = {
                name: resample(estimate, rate, sample_rate, song.shape[1]).reshape(audio.shape)
                for name, estimate in zip(self.manifest.model.stems, estimates, strict=True)
            }
        if INSTRUMENTAL in self.stems and INSTRUMENTAL not in out:
            out[INSTRUMENTAL] = audio - out["vocals"]
        return {name: out[name] for name in wanted}

    def _check(self, song: Float, sample_rate: int) -> None:
        if song.ndim != 2 or song.shape[0] not in (1, 2):
            raise OptionError(
                f"audio of shape {song.shape}: expected [channels, samples] with 1 or 2 channels, or [samples]"
            )
        if song.shape[1] == 0:
            raise OptionError("audio holds no samples")
        if not np.abs(song).max() <= MAX_LEVEL:
            raise OptionError(f"audio holds NaN, Inf or samples beyond {MAX_LEVEL:.0e}: expected full scale 1.0")
        if not isinstance(sample_rate, int | np.integer) or not MIN_RATE <= sample_rate <= MAX_RATE:
            raise OptionError(f"sample rate {sample_rate!r}: expected {MIN_RATE} to {MAX_RATE} Hz")

    def _estimate(self, mixture: Float, progress: Callable[[int, int], None] | None) -> Float:
        """[c, samples] at the engine's rate -> the network's stems [s, c, samples]."""
        channels = self.manifest.model.channels
        if channels == 1:  # each side of the song is a mixture of its own
            sides = self._overlap_add(mixture[:, None], progress)  # [c, s, 1, samples]
            return np.concatenate(list(sides), axis=1)
        stereo = mixture if mixture.shape[0] == 2 else np.repeat(mixture, 2, axis=0)
        (stems,) = self._overlap_add(stereo[None], progress)
        if mixture.shape[0] == 1:
            stems = (stems[:, :1] + stems[:, 1:]) / 2
        out: Float = stems
        return out

    def _overlap_add(self, mixtures: Float, progress: Callable[[int, int], None] | None) -> Float:
        """Mixtures of one length, [m, c, samples], each on its own -> [m, s, c, samples]."""
        plan = ChunkPlan.of(mixtures.shape[-1], self.manifest.chunk_samples, self.overlap)
        shape = (len(self.manifest.model.stems), mixtures.shape[1])
        results = [OverlapAdd(plan, shape) for _ in mixtures]
        chunks = [(m, i) for m in range(len(mixtures)) for i in range(len(plan))]
        groups = [chunks[first : first + self.batch] for first in range(0, len(chunks), self.batch)]
        waiting: deque[tuple[Group, Pending]] = deque()
        done = 0

        def collect() -> None:
            nonlocal done
            group, pending = waiting.popleft()
            with self.times.stage("engine"):
                stems = pending.result()
            self._add(group, stems, shape, plan, results)
            done += len(group)
            if progress is not None:
                progress(done, len(chunks))

        try:
            for group in groups:
                with self.times.stage("stft"):
                    spectra = self._stft.forward(np.stack([plan.cut(mixtures[m], i) for m, i in group]))
                missing = self.manifest.batch.min - len(group)
                if missing > 0:  # the engine takes no fewer; what it makes of silence is dropped
                    spectra = np.concatenate([spectra, np.zeros((missing, *spectra.shape[1:]), np.float32)])
                with self.times.stage("engine"):
                    waiting.append((group, self.backend.submit(spectra)))
                if len(waiting) == self.backend.depth:
                    collect()
            while waiting:
                collect()
        finally:
            for _, pending in waiting:  # after an error: leave nothing under way
                with suppress(EngineError):
                    pending.result()
        return np.stack([result.result() for result in results])

    def _add(
        self, group: Group, stems: Float, shape: tuple[int, ...], plan: ChunkPlan, results: list[OverlapAdd]
    ) -> None:
        """Transform the stems of a group of chunks back and add them to the results of their mixtures."""
        manifest = self.manifest
        batch = max(len(group), manifest.batch.min)
        expected = (batch, shape[0], manifest.frames.opt, manifest.bins, manifest.model.channels, 2)
        if stems.shape != expected:
            raise EngineError(f"the engine returned {stems.shape}: expected {expected}; export it again")
        stems = stems[: len(group)]
        with self.times.stage("istft"):
            if not np.isfinite(stems).all():
                raise NumericsError(
                    f"the engine returned NaN or Inf for the chunk at {self._seconds(plan.start(group[0][1]))}: "
                    "no stem is written; export the engine again and look at its parity record"
                )
            for (m, i), wave in zip(group, self._stft.inverse(stems), strict=True):
                results[m].add(i, wave)

    def close(self) -> None:
        """Give back what the engine holds. The separator cannot be used after it."""
        self.backend.close()

    def _seconds(self, sample: int) -> str:
        return f"{sample / self.manifest.stft.sample_rate:.1f} s"


def open_separator(
    engine: str | Path,
    *,
    overlap: float = DEFAULT_OVERLAP,
    batch: int | None = None,
    threads: int | None = None,
    device: str = "auto",
) -> Separator:
    """Open the engine at `engine` (NAME.onnx or NAME.plan, with NAME.json beside it).

    `overlap` is the part of a chunk shared with the next, `batch` the chunks given to the engine at a time (None: what
    it was made for), `threads` the CPU threads it may use (None: one a core), `device` one of
    `runtime.backends.DEVICES`. Raises ManifestError, EngineError, OptionError.
    """
    path = Path(engine)
    manifest = read_manifest(path)
    return Separator(open_backend(path, manifest, threads, device), manifest, overlap, batch)
