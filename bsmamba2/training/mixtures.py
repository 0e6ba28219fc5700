"""Training and validation data: mixtures of randomly drawn stems, and aligned segments of songs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy
from torch.utils.data import Dataset, Sampler

from bsmamba2.training.augment import Augmentation
from bsmamba2.training.songs import Salient, Song, Stem

Float = NDArray[np.float32]


class Example(NamedTuple):
    mixture: Tensor  # [c, samples]
    targets: Tensor  # [s, c, samples]


@dataclass(frozen=True)
class Mixing:
    """How stems are mixed: gains are uniform in `gain`, and a stem is silent with probability `silence`.

    The defaults are the official ones. Mixtures are not clipped or normalised.
    """

    gain: tuple[float, float] = (0.5, 1.5)
    silence: float = 0.1
    augmentation: Augmentation = field(default_factory=Augmentation)


class RandomMixtures(Dataset[Example]):
    """Example `i` depends only on `seed` and i, so that workers and processes need no common state.

    `pools` has, for each folder of songs and each stem name, the windows to draw from. Every stem of an example comes
    from a random folder and a random window in it, both uniform: official `mix_prop` 1.0.
    """

    def __init__(
        self,
        pools: Sequence[dict[str, list[Salient]]],
        targets: Sequence[str],
        samples: int,
        channels: int,
        mixing: Mixing,
        seed: int,
    ) -> None:
        self._pools = [
            {name: [(one.stem, start) for one in salient for start in one.starts] for name, salient in pool.items()}
            for pool in pools
        ]
        self._targets, self._samples, self._channels = targets, samples, channels
        self._mixing, self._seed = mixing, seed

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self._seed, index])
        stems = {name: self._stem(rng, name) for name in self._pools[0]}
        mixture = np.sum(list(stems.values()), axis=0)
        return Example(from_numpy(mixture), from_numpy(np.stack([stems[name] for name in self._targets])))

    def _stem(self, rng: np.random.Generator, name: str) -> Float:
        windows = self._pools[rng.integers(len(self._pools))][name]
        stem, start = windows[rng.integers(len(windows))]
        gain = rng.uniform(*self._mixing.gain)
        if rng.random() < self._mixing.silence:
            return np.zeros((self._channels, self._samples), np.float32)
        augmentation = self._mixing.augmentation
        wave = augmentation.apply(
            rng,
            self._samples,
            lambda samples: stem.read(min(start, max(0, stem.samples - samples)), samples, self._channels),
        )
        return np.float32(gain) * wave


class AlignedSegments(Dataset[Example]):
    """Segments of unchanged songs, the same in every validation: example `i` depends only on `seed` and i.

    The official code draws new segments every time, so that its validation curve also depends on the segments.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        windows: Sequence[Salient],
        targets: Sequence[str],
        samples: int,
        channels: int,
        count: int,
        seed: int,
    ) -> None:
        by_stem = {song.stems[targets[0]]: song for song in songs}
        choices = [(by_stem[one.stem], start) for one in windows for start in one.starts]
        rng = np.random.default_rng(seed)
        self._draws = [choices[i] for i in rng.integers(len(choices), size=count)]
        self._targets, self._samples, self._channels = targets, samples, channels

    def __len__(self) -> int:
        return len(self._draws)

    def __getitem__(self, index: int) -> Example:
        song, start = self._draws[index]
        stems = {name: self._read(stem, start) for name, stem in song.stems.items()}
        mixture = np.sum(list(stems.values()), axis=0)
        return Example(from_numpy(mixture), from_numpy(np.stack([stems[name] for name in self._targets])))

    def _read(self, stem: Stem, start: int) -> Float:
        return stem.read(start, self._samples, self._channels)


class Draws(Sampler[int]):
    """The example numbers of an epoch for process `rank` of `processes`; every epoch has different numbers.

    A training that is resumed at an epoch uses the same examples as without the interruption.
    """

    def __init__(self, per_epoch: int, rank: int = 0, processes: int = 1) -> None:
        self._per_epoch, self._rank, self._processes = per_epoch, rank, processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        first = self._epoch * self._per_epoch
        return iter(range(first + self._rank, first + self._per_epoch, self._processes))

    def __len__(self) -> int:
        return len(range(self._rank, self._per_epoch, self._processes))
