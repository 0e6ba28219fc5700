"""What the network is shown: mixtures of stems drawn independently of each other, and aligned ones to validate on."""

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
    """How stems become a mixture: gains are drawn evenly from `gain`, and a stem is silent with chance `silence`.

    Defaults are the official ones; nothing is clipped or normalised.
    """

    gain: tuple[float, float] = (0.5, 1.5)
    silence: float = 0.1
    augmentation: Augmentation = field(default_factory=Augmentation)


class RandomMixtures(Dataset[Example]):
    """Draw `i` is a function of `seed` and i alone, whatever was drawn before and whoever draws it.

    `pools` holds, for each folder of songs and each stem's name, the windows to draw from. Every stem of a draw comes
    from a folder drawn evenly, then from a window drawn evenly: official `mix_prop` 1.0.
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
    """Segments of songs as they are, the same in every validation: draw `i` depends on `seed` and i alone.

    The official code draws anew every time, so that its curve also shows which segments it happened to draw.
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
    """Numbers of the draws of an epoch, the share of process `rank` of `processes`; every epoch has its own numbers.

    An interrupted training that goes on at an epoch draws what it would have drawn.
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
