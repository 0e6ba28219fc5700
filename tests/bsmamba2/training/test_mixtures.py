"""What the network is shown: how stems are drawn, changed and summed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from songs import STEMS_RATE as RATE

from bsmamba2.training.augment import Augmentation
from bsmamba2.training.mixtures import AlignedSegments, Draws, Mixing, RandomMixtures
from bsmamba2.training.songs import Salient, Stem, find_salient, training_songs

FOUR = ("vocals", "drums", "bass", "other")
SAMPLES = RATE // 2


@pytest.fixture(scope="module")
def pool(songs: Path) -> dict[str, list[Salient]]:
    train, _ = training_songs(songs, FOUR, RATE)
    return {name: find_salient([song.stems[name] for song in train], SAMPLES, 2) for name in FOUR}


def mixtures(pools: list[dict[str, list[Salient]]], seed: int = 1, **mixing: object) -> RandomMixtures:
    return RandomMixtures(pools, ["vocals"], SAMPLES, 2, Mixing(**mixing), seed)  # type: ignore[arg-type]


def test_a_draw_depends_on_its_number_and_the_seed_alone(pool: dict[str, list[Salient]]) -> None:
    one = mixtures([pool])
    late = one[7].mixture
    assert torch.equal(mixtures([pool])[7].mixture, late)
    assert not torch.equal(one[8].mixture, late)
    assert not torch.equal(mixtures([pool], seed=2)[7].mixture, late)


def test_a_mixture_is_the_sum_of_stems_with_gains_within_their_range(pool: dict[str, list[Salient]]) -> None:
    alone = {"vocals": pool["vocals"]}
    drawn = mixtures([alone], silence=0.0)
    seen = []
    for index in range(200):
        mixture, targets = drawn[index]
        assert torch.equal(mixture, targets[0])  # no other stems
        windows = [one.stem.read(start, SAMPLES, 2) for one in pool["vocals"] for start in one.starts]
        gains = [float((mixture.numpy() * window).sum() / np.square(window).sum()) for window in windows]
        errors = [np.abs(mixture.numpy() - g * w).max() for g, w in zip(gains, windows, strict=True)]
        assert min(errors) < 1e-6
        seen.append(gains[int(np.argmin(errors))])
    assert 0.5 <= min(seen) < 0.6 and 1.4 < max(seen) <= 1.5


def test_stems_are_silent_as_often_as_asked(pool: dict[str, list[Salient]]) -> None:
    drawn = mixtures([pool], silence=0.1)
    silent = np.mean([not drawn[i].targets.any() for i in range(1000)])
    assert abs(silent - 0.1) < 0.03
    assert not mixtures([pool], silence=1.0)[0].mixture.any()


def test_stems_are_drawn_independently_of_each_other(pool: dict[str, list[Salient]], monkeypatch) -> None:
    """From each song's stems to every other's, not always the same song or time."""
    reads: list[tuple[Path, int]] = []
    read = Stem.read
    monkeypatch.setattr(
        Stem, "read", lambda self, start, *rest: (reads.append((self.files[0], start)), read(self, start, *rest))[1]
    )
    drawn = mixtures([pool], silence=0.0)
    together = set()
    for index in range(100):
        reads.clear()
        drawn[index]
        together.add(len({(path.parent, start) for path, start in reads}))
    assert max(together) > 1


def test_folders_of_songs_are_drawn_from_equally_often(pool: dict[str, list[Salient]]) -> None:
    few = {name: [Salient(found[0].stem, found[0].starts[:1])] for name, found in pool.items()}
    few = {name: few[name] for name in ("vocals",)}
    many = {"vocals": pool["vocals"]}
    drawn = mixtures([few, many], silence=0.0, gain=(1.0, 1.0))
    one = few["vocals"][0]
    window = torch.from_numpy(one.stem.read(one.starts[0], SAMPLES, 2))
    share = np.mean([torch.equal(drawn[i].mixture, window) for i in range(400)])
    assert 0.45 < share < 0.68  # half, and now and then from `many`


@pytest.mark.parametrize("settings", [{"swap_channels": 1.0}, {"polarity": 1.0}])
def test_augmentation_swaps_and_inverts(settings: dict[str, float]) -> None:
    wave = np.random.default_rng(0).standard_normal((2, 50)).astype(np.float32)
    done = Augmentation(**settings).apply(np.random.default_rng(1), 50, lambda samples: wave[:, :samples])  # type: ignore[arg-type]
    np.testing.assert_array_equal(done, wave[::-1] if "swap_channels" in settings else -wave)


@pytest.mark.parametrize("speed", [0.5, 0.9, 1.1, 2.0])
def test_speed_changes_the_pitch_and_keeps_the_length(speed: float) -> None:
    time = np.arange(40000) / RATE
    tone = np.stack([np.sin(2 * np.pi * 400 * time)] * 2).astype(np.float32)
    changed = Augmentation(speed=(speed, speed)).apply(np.random.default_rng(1), RATE, lambda n: tone[:, :n])
    assert changed.shape == (2, RATE)
    spectrum = np.abs(np.fft.rfft(changed[0] * np.hanning(RATE)))
    assert abs(np.argmax(spectrum) - 400 * speed) <= 1


def test_nothing_is_changed_by_default() -> None:
    wave = np.random.default_rng(0).standard_normal((2, 50)).astype(np.float32)
    np.testing.assert_array_equal(Augmentation().apply(np.random.default_rng(1), 50, lambda n: wave[:, :n]), wave)


def test_segments_that_validate_are_aligned_and_always_the_same(songs: Path) -> None:
    _, valid = training_songs(songs, FOUR, RATE)
    windows = find_salient([song.stems["vocals"] for song in valid], SAMPLES, 2)

    def segments(seed: int) -> AlignedSegments:
        return AlignedSegments(valid, windows, ["vocals"], SAMPLES, 2, 6, seed)

    one = segments(3)
    assert len(one) == 6
    starts = set()
    for index in range(6):
        assert torch.equal(one[index].mixture, segments(3)[index].mixture)
        matching = [
            start
            for start in windows[0].starts
            if np.array_equal(one[index].targets[0].numpy(), windows[0].stem.read(start, SAMPLES, 2))
        ]
        expected = sum(stem.read(matching[0], SAMPLES, 2) for stem in valid[0].stems.values())
        np.testing.assert_allclose(one[index].mixture.numpy(), expected, atol=1e-6)
        starts.add(matching[0])
    assert len(starts) > 1


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_draws_of_an_epoch(processes: int) -> None:
    samplers = [Draws(12, rank, processes) for rank in range(processes)]
    for sampler in samplers:
        sampler.set_epoch(2)
    assert sorted(number for sampler in samplers for number in sampler) == list(range(24, 36))
    assert {len(sampler) for sampler in samplers} == {12 // processes}
