"""Chunks of waveform through an engine, in batches: STFT, engine, inverse STFT.

An engine with waveforms in and out has the STFT and its inverse inside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Backend, Lending, Pending
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
    """Runs one engine on `batch` views of chunks at a time. `times` gets the seconds of: stft, engine, istft.

    Of an engine with waveforms, `engine` has the time of all three.
    """

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
        self._stft = Stft.of(manifest.stft, threads) if manifest.io == "spectrum" else None
        # Where work is enqueued, on a GPU, another shape costs more than a batch that is full: waiting for all that is
        # under way, and kernels for the shape.
        self._keeps_size = backend.depth > 1

    def run(
        self, chunks: Iterable[Chunk], stems: list[int], progress: Callable[[int], None]
    ) -> Generator[tuple[Chunk, Float], None, None]:
        """Each chunk, of mixtures [m, c, chunk], with the network's `stems` of it, by number: [m, s, c, chunk].

        `progress` is called with the number of chunks done, all mixtures and views counted. Raises EngineError.
        """
        waiting: deque[tuple[Group, int, Pending]] = deque()  # each with the size of its batch
        done = 0
        size = self.manifest.batch.min
        seen: list[Float] = []  # stems of the views of the current mixture
        mixtures: list[Float] = []  # stems of the mixtures of the current chunk

        def collect() -> Iterator[tuple[Chunk, Float]]:
            nonlocal done
            group, given, pending = waiting.popleft()
            with self.times.stage("engine"):
                out = pending.result()
            waves = self._waves(group, given, out, stems)
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
                size = max(len(group), size if self._keeps_size else self.manifest.batch.min)
                waiting.append((group, size, self._submit(group, size)))
                if len(waiting) == self.backend.depth:
                    yield from collect()
            while waiting:
                yield from collect()
        finally:
            for _, _, pending in waiting:  # after an error: let the engine finish
                with suppress(EngineError):
                    pending.result()

    def _submit(self, group: Group, size: int) -> Pending:
        """Give the engine `group` as a batch of `size`; what is missing is silence, whose stems are dropped."""
        waves, shape = [wave for _, wave in group], self.manifest.input_shape(size, self.manifest.frames.opt)
        mixture = self.backend.lend(shape) if isinstance(self.backend, Lending) else np.empty(shape, np.float32)
        if self._stft is None:
            np.stack(waves, out=mixture[: len(group)])
        else:
            with self.times.stage("stft"):
                self._stft.forward(np.stack(waves), out=mixture[: len(group)])
        mixture[len(group) :] = 0
        with self.times.stage("engine"):
            return self.backend.submit(mixture)

    def _waves(self, group: Group, size: int, out: Float, stems: list[int]) -> Float:
        """The engine's stems of a group, a batch of `size` -> waveforms of those asked for, [b, s, c, chunk]."""
        manifest = self.manifest
        expected = manifest.output_shape(size, manifest.frames.opt)
        if out.shape != expected:
            raise EngineError(f"the engine returned shape {out.shape}, expected {expected}: export the engine again")
        out = out[: len(group)]
        with self.times.stage("istft"):
            if not np.isfinite(out).all():
                raise NumericsError(
                    f"the engine returned NaN or Inf for the chunk at {self._seconds(group[0][0])}: "
                    "no stem is written; check the engine with bsm-parity, or export it again"
                )
            wanted = out if stems == list(range(len(manifest.model.stems))) else out[:, stems]
            return wanted if self._stft is None else self._stft.inverse(wanted)

    def _seconds(self, chunk: Chunk) -> str:
        return f"{max(0, chunk.start) / self.manifest.stft.sample_rate:.1f} s"


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one perhaps shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
