"""A song through an engine, block by block: memory does not depend on the length of the song."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.dsp.chunks import Chunk, OverlapAdd, Plan
from runtime.dsp.fifo import Fifo
from runtime.dsp.resampling import Resampler, resampled_length
from runtime.engine.stems import remainder_of
from runtime.errors import OptionError
from runtime.separation.engine_run import EngineRun

Float = NDArray[np.float32]
Samples = NDArray[np.floating[Any]]


class SongStream:
    """Separates one song, once.

    Its blocks are resampled to the engine's rate, cut into chunks, separated, overlap-added and resampled back, each
    step as soon as it has enough samples. Mixtures (m) are what the engine takes at a time: a stereo engine takes the
    channels of a song in pairs (of an odd number the last channel twice, and the mean of the pair comes back), a mono
    engine takes them one by one.
    """

    def __init__(self, engine: EngineRun, plan: Plan, sample_rate: int, channels: int, stems: list[str]) -> None:
        """A song of `channels` at `sample_rate` Hz; `stems` some of `stems_of` the network's."""
        network = engine.manifest.stems
        self._remainder = remainder_of(engine.manifest) if set(stems) - set(network) else None
        needed = {*stems, *(self._remainder or ())}
        self._network = [stem for stem in network if stem in needed]
        self._rows = [network.index(stem) for stem in self._network]
        self._stems = stems
        self._engine, self._plan, self._times = engine, plan, engine.times
        self._width = engine.manifest.model.channels
        self._sample_rate, self._channels = sample_rate, channels
        self._rate = engine.manifest.stft.sample_rate
        self._there = Resampler(sample_rate, self._rate, (channels,))
        self._cutter = plan.cutter()
        self._sum = OverlapAdd()
        self._back = Resampler(self._rate, sample_rate, (len(self._network), channels))
        self._song = Fifo() if self._remainder is not None else None  # what the stem is taken from
        self._samples = 0  # of the song, so far

    def chunks(self, samples: int) -> int:
        """How many chunks the engine is given for a song of so many samples, all mixtures and views together."""
        mixtures = -(-self._channels // self._width)
        return (
            len(self._engine.views)
            * mixtures
            * self._plan.count(resampled_length(samples, self._sample_rate, self._rate))
        )

    def run(
        self, blocks: Iterable[Samples], progress: Callable[[int], None]
    ) -> Generator[dict[str, Samples], None, None]:
        """Blocks [c, n] of any lengths -> the stems, [c, n] each, n the same for all and never 0.

        In all there are as many samples as went in. `progress` is called with the chunks done. Raises OptionError for
        a song without samples, EngineError.
        """
        with closing(self._engine.run(self._chunks(blocks), self._rows, progress)) as separated:
            for chunk, waves in separated:
                with self._times.stage("istft"):
                    stems = unpaired(self._sum.add(chunk, waves), self._channels)
                with self._times.stage("resample"):
                    stems = self._back.put(stems)
                    if chunk.last:
                        stems = np.concatenate([stems, self._back.finish(self._samples)], axis=-1)
                if stems.shape[-1]:
                    yield self._named(stems)

    def _chunks(self, blocks: Iterable[Samples]) -> Iterator[Chunk]:
        for block in blocks:
            self._samples += block.shape[1]
            if self._song is not None:
                self._song.put(block)
            with self._times.stage("resample"):
                wave = self._there.put(block.astype(np.float32, copy=False))
            yield from self._cutter.put(paired(wave, self._width))
        if not self._samples:
            raise OptionError("audio contains no samples")
        with self._times.stage("resample"):
            wave = self._there.finish(resampled_length(self._samples, self._sample_rate, self._rate))
        yield from self._cutter.put(paired(wave, self._width))
        yield from self._cutter.finish()

    def _named(self, waves: Float) -> dict[str, Samples]:
        """The network's stems, [s, c, n] -> those that are wanted, by name."""
        stems: dict[str, Samples] = dict(zip(self._network, waves, strict=True))
        if self._song is not None and self._remainder is not None:
            name, stem = self._remainder
            stems[name] = self._song.take(waves.shape[-1]) - stems[stem]
        return {stem: stems[stem] for stem in self._stems}


def paired(song: Float, width: int) -> Float:
    """The channels of a song, [c, n], as mixtures [m, width, n]; where one is missing the last counts twice."""
    if len(song) % width:
        song = np.concatenate([song, song[-1:]])
    return song.reshape(len(song) // width, width, song.shape[1])


def unpaired(stems: Float, channels: int) -> Float:
    """Stems of mixtures, [m, s, width, n], as stems of the song they were `paired` of, [s, c, n]."""
    mixtures, count, width, samples = stems.shape
    sides = np.moveaxis(stems, 0, 1).reshape(count, mixtures * width, samples)
    if sides.shape[1] == channels:
        return sides
    mean = (sides[:, -2:-1] + sides[:, -1:]) / 2
    return np.concatenate([sides[:, : channels - 1], mean], axis=1)
