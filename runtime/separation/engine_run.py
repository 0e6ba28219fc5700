"""Chunks of waveform through an engine, in batches: STFT, engine, inverse STFT."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Backend, Pending
from runtime.dsp.chunks import Chunk
from runtime.dsp.stft import Stft
from runtime.dsp.views import UNCHANGED, View, mean_of
from runtime.engine.manifest import Manifest
from runtime.errors import EngineError, NumericsError
from runtime.separation.timing import StageTimes

Float = NDArray[np.float32]
T = TypeVar("T")
Group = list[tuple[Chunk, Float]]  # a batch: chunks, each with a view of one of its mixtures [c, chunk]


class EngineRun:
    """Runs one engine on `batch` views of chunks at a time. `times` gets the seconds of: stft, engine, istft."""

    def __init__(
        self,
        backend: Backend,
        manifest: Manifest,
        batch: int,
        times: StageTimes,
        views: tuple[View, ...] = (UNCHANGED,),
        threads: int | None = None,
    ) -> None:
        self.backend = backend
        self.manifest = manifest
        self.batch = batch
        self.times = times
        self.views = views
        self._stft = Stft.of(manifest.stft, threads)

    def run(
        self, chunks: Iterable[Chunk], stems: list[int], progress: Callable[[int], None]
    ) -> Generator[tuple[Chunk, Float], None, None]:
        """Each chunk, of mixtures [m, c, chunk], with the network's `stems` of it, by number: [m, s, c, chunk].

        `progress` is called with the number of chunks done, all mixtures and views counted. Raises EngineError.
        """
        waiting: deque[tuple[Group, Pending]] = deque()
        done = 0
        seen: list[Float] = []  # stems of the views of the current mixture
        mixtures: list[Float] = []  # stems of the mixtures of the current chunk

        def collect() -> Iterator[tuple[Chunk, Float]]:
            nonlocal done
            group, pending = waiting.popleft()
            with self.times.stage("engine"):
                spectra = pending.result()
            waves = self._inverse(group, spectra, stems)
            done += len(group)
            progress(done)
            for (chunk, _), wave in zip(group, waves, strict=True):
                seen.append(wave)
                if len(seen) < len(self.views):
                    continue
                mixtures.append(mean_of(self.views, seen) if len(seen) > 1 else wave)
                seen.clear()
                if len(mixtures) == len(chunk.wave):
                    yield chunk, np.stack(mixtures)
                    mixtures.clear()

        try:
            shown = ((chunk, view.of(wave)) for chunk in chunks for wave in chunk.wave for view in self.views)
            for group in grouped(shown, self.batch):
                waiting.append((group, self._submit(group)))
                if len(waiting) == self.backend.depth:
                    yield from collect()
            while waiting:
                yield from collect()
        finally:
            for _, pending in waiting:  # after an error: let the engine finish
                with suppress(EngineError):
                    pending.result()

    def _submit(self, group: Group) -> Pending:
        with self.times.stage("stft"):
            spectra = self._stft.forward(np.stack([wave for _, wave in group]))
        missing = self.manifest.batch.min - len(group)
        if missing > 0:  # the engine takes no fewer; the stems of this silence are dropped
            spectra = np.concatenate([spectra, np.zeros((missing, *spectra.shape[1:]), np.float32)])
        with self.times.stage("engine"):
            return self.backend.submit(spectra)

    def _inverse(self, group: Group, spectra: Float, stems: list[int]) -> Float:
        """The engine's stems of a group, [b, s, t, f, c, 2] -> waveforms of those asked for, [b, s, c, chunk]."""
        manifest = self.manifest
        batch, model = max(len(group), manifest.batch.min), manifest.model
        expected = (batch, len(model.stems), manifest.frames.opt, manifest.bins, model.channels, 2)
        if spectra.shape != expected:
            raise EngineError(
                f"the engine returned shape {spectra.shape}, expected {expected}: export the engine again"
            )
        spectra = spectra[: len(group)]
        with self.times.stage("istft"):
            if not np.isfinite(spectra).all():
                raise NumericsError(
                    f"the engine returned NaN or Inf for the chunk at {self._seconds(group[0][0])}: "
                    "no stem is written; check the engine with bsm-parity, or export it again"
                )
            return self._stft.inverse(spectra if stems == list(range(len(model.stems))) else spectra[:, stems])

    def _seconds(self, chunk: Chunk) -> str:
        return f"{max(0, chunk.start) / self.manifest.stft.sample_rate:.1f} s"


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one perhaps shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
