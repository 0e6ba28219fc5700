"""The SDR before and after an export, given true stems."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from fakes import separator_of

from runtime.audio import Song
from runtime.errors import OptionError
from runtime.parity.sdr_change import SdrChange, read_true_stems, sdr_changes

SONG = Song(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32), 44100)
TRUTH = {"vocals": np.float32(0.6) * SONG.audio}


def separator(gain: float):
    return separator_of((gain,))


def test_the_same_engine_changes_nothing():
    (found,) = sdr_changes(SONG, TRUTH, separator(0.5), separator(0.5))
    assert found.reference == pytest.approx(20 * math.log10(6), abs=1e-3)
    assert found.mixture == pytest.approx(20 * math.log10(1.5), abs=1e-3)
    assert found.change == 0 and found.passed


@pytest.mark.parametrize("gain", [1.0, 0.0, 0.501])
def test_another_engine_fails_whether_better_or_worse(gain):
    (found,) = sdr_changes(SONG, TRUTH, separator(gain), separator(0.5))
    assert abs(found.change) > 0.02 and not found.passed


def test_without_pytorch_the_mixture_is_the_baseline():
    (found,) = sdr_changes(SONG, TRUTH, separator(0.5))
    assert found.reference is None and found.change is None and found.passed


def test_an_engine_of_nan_fails():
    broken = separator_of(function=lambda mixture: mixture[:, None] * np.nan)
    for before in (None, separator(0.5)):
        (found,) = sdr_changes(SONG, TRUTH, broken, before)
        assert math.isnan(found.engine) and not found.passed


@pytest.mark.parametrize(("precision", "most"), [("fp32", 0.02), ("fp16", 0.02), ("bf16", 0.05)])
def test_how_much_may_change(precision, most):
    change = SdrChange("vocals", precision, 0.0, 10.0, 10.0 - most + 1e-3)
    assert change.passed and not replace(change, engine=10.0 - most - 1e-3).passed


def test_true_stems_are_found_by_their_names(tmp_path):
    for name in ("Vocals.FLAC", "drums.wav", "other.wav"):  # upper and lower case are the same
        soundfile.write(tmp_path / name, SONG.audio.T, 44100)
    found = read_true_stems(tmp_path, SONG, ["vocals", "drums", "bass"])
    assert list(found) == ["vocals", "drums"]
    np.testing.assert_allclose(found["vocals"], SONG.audio, atol=1e-4)


def test_stems_of_another_song_are_refused(tmp_path):
    with pytest.raises(OptionError, match=r"has none of the engine's stems: expected vocals\.wav or vocals\.flac"):
        read_true_stems(tmp_path, SONG, ["vocals"])
    soundfile.write(tmp_path / "vocals.wav", SONG.audio.T[:-1], 44100)
    with pytest.raises(
        OptionError, match="has 2 channels of 8999 samples at 44100 Hz, the song has 2 channels of 9000"
    ):
        read_true_stems(tmp_path, SONG, ["vocals"])
    soundfile.write(tmp_path / "vocals.wav", SONG.audio.T, 48000)
    with pytest.raises(OptionError, match="at 48000 Hz, the song"):
        read_true_stems(tmp_path, SONG, ["vocals"])
