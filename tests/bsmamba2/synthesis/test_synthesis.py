"""The songs the project makes itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from bsmamba2.synthesis import make_song

STEMS = {"vocals", "drums", "bass", "other"}


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), seconds=st.floats(0.5, 4), rate=st.sampled_from([8000, 22050, 44100]))
@pytest.mark.seconds
def test_any_number_gives_a_song(seed: int, seconds: float, rate: int) -> None:
    song = make_song(seconds, rate, seed)
    assert set(song.stems) == STEMS
    for stem in song.stems.values():
        assert stem.shape == (2, round(seconds * rate)) and stem.dtype == np.float32
        assert np.isfinite(stem).all()
    assert np.abs(song.mixture).max() <= 0.9 + 1e-5
    np.testing.assert_array_equal(song.vocals + song.accompaniment, song.mixture)


def test_a_number_always_gives_the_same_song_and_another_one_another() -> None:
    one, again, other = (make_song(2.0, 8000, seed).mixture for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1


def test_the_voice_comes_and_goes_and_has_the_pitches_of_voices() -> None:
    silent, pitches = [], []
    for seed in range(6):
        vocals = make_song(8.0, 16000, seed).vocals.mean(axis=0)
        frames = vocals[: len(vocals) // 800 * 800].reshape(-1, 800)  # 50 ms
        rms = np.sqrt(np.square(frames).mean(axis=1))
        silent.append((rms < 0.02 * rms.max()).mean())
        loudest = frames[np.argsort(rms)[-20:]]
        for frame in loudest:
            correlation = np.correlate(frame, frame, "full")[800:]
            pitches.append(16000 / (20 + np.argmax(correlation[19:400])))
    assert 0.05 < np.mean(silent) < 0.9
    assert 60 < np.median(pitches) < 700


def test_songs_are_written_once(tmp_path) -> None:
    command = [sys.executable, "-m", "bsmamba2.synthesis", str(tmp_path), "--songs", "2", "--seconds", "1"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.count("song_") == 2
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.flac")}
    assert names == {f"song_{number}/{stem}.flac" for number in (1000, 1001) for stem in STEMS}
    audio, rate = soundfile.read(tmp_path / "song_1000" / "vocals.flac", dtype="float32")
    np.testing.assert_allclose(audio.T, make_song(1.0, rate, 1000).vocals, atol=2.0**-22)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.parametrize("seed", range(3))
def test_stems_are_those_of_a_band(seed: int) -> None:
    """Of each stem, the share of energy below 250 Hz: most of the bass's, little of the voice's."""
    stems = make_song(8.0, 16000, seed).stems
    shares = {}
    for name, stem in stems.items():
        power = np.square(np.abs(np.fft.rfft(stem.mean(axis=0))))
        low = np.fft.rfftfreq(stem.shape[1], 1 / 16000) < 250
        shares[name] = power[low].sum() / power.sum() if power.any() else None
    assert shares["bass"] is None or shares["bass"] > 0.5
    assert shares["vocals"] is None or shares["vocals"] < (shares["bass"] or 1)
