"""The demo's weights: what they were trained to do, and what chunks do to it."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
import pytest

from bsmamba2.synthesis import make_song
from export.checks.eval_models import open_model
from export.demo import SONG
from runtime.evaluation.metrics import usdr

RATE = 44100
CHUNK = 2.0  # s


@pytest.mark.seconds
@pytest.mark.parametrize("name", ["demo", "demo-roformer"])
def test_they_separate_a_song_they_were_not_trained_on(name: str) -> None:
    song = make_song(6.0, RATE, SONG)
    model = open_model(name, [name], None, None, "auto", None)
    vocals = model.separator(0.0, 6.0).separate(song.mixture, RATE, ["vocals"])["vocals"]
    assert usdr(song.vocals, vocals) > usdr(song.vocals, song.mixture) + 6


@pytest.mark.parametrize("recipe", ["demo", "demo_roformer"])
def test_the_log_of_their_training_is_kept(recipe: str) -> None:
    with (files("bsmamba2.demo") / f"{recipe}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 15))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])


@pytest.mark.seconds
def test_the_default_overlap_leaves_no_seam_in_what_they_separate() -> None:
    """Chunks of 2 s, which know less of their surroundings than those of 8 s, against three times as many."""
    song = make_song(8.0, RATE, SONG)
    model = open_model("demo", ["demo"], None, None, "auto", None)

    def vocals(overlap: float) -> np.ndarray:
        return model.separator(overlap, CHUNK).separate(song.mixture, RATE, ["vocals"])["vocals"]

    dense = vocals(0.75)
    largest = np.abs(np.diff(dense)).max()

    def at_seams(overlap: float) -> tuple[float, float]:
        """SNR within 0.25 s of a seam, dB, and the largest change of the error there from one sample to the next."""
        error = vocals(overlap) - dense
        step, shared = round(CHUNK * RATE * (1 - overlap)), round(CHUNK * RATE * overlap)
        near = np.zeros(error.shape[1], bool)
        for start in range(step, error.shape[1] - round(2 * CHUNK * RATE), step):
            middle = start + shared // 2
            near[middle - RATE // 4 : middle + RATE // 4] = True
        signal, wrong = (np.square(wave[:, near], dtype=np.float64).sum() for wave in (dense, error))
        return 10 * np.log10(signal / wrong), np.abs(np.diff(error))[:, near[1:]].max()

    snr, change = at_seams(0.25)
    assert snr > 25 and change < largest / 10
    snr, change = at_seams(0.0)
    assert snr < 15 and change > largest / 10  # the measure hears seams
