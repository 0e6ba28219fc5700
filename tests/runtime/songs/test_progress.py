"""How far a song is: seen on a terminal, nowhere else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from runtime.songs import progress


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal on standard error gets."""
    shown = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=shown, force_terminal=True, width=120))
    return shown


def test_a_terminal_shows_part_pace_and_time_left(terminal, monkeypatch):
    seconds = iter([100.0, 104.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(seconds))
    with progress.song_progress("3 of 9: a\nb.wav", 88200, 44100) as update:
        update(22050)
    shown = terminal.getvalue()
    assert "3 of 9: a\\nb.wav " in shown and " 25%  0.12x real time  0:00:12 left" in shown


@pytest.mark.parametrize(
    ("done", "samples", "took", "words"),
    [
        (0, 100, 0.0, "0%"),
        (50, None, 10.0, "0:00:05 done  0.5x real time"),
        (100, 100, 5.0, "100%  2x real time  0:00:00 left"),
        (110, 100, 5.0, "110%  2.2x real time  0:00:00 left"),  # of a file that declares too little
        (10, 72010, 2.0, "0%  0.5x real time  4:00:00 left"),
    ],
)
def test_states_in_words(done, samples, took, words):
    assert progress.state(done, samples, 10, took) == words


@pytest.mark.parametrize(
    ("seconds", "took", "words"),
    [
        (0.000227, 0.5, "less than 0.01 s in 0.50 s, less than 0.01x real time"),  # ten samples
        (0.0123, 0.5, "0.01 s in 0.50 s, 0.025x real time"),
        (0.5, 0.004, "0.50 s in less than 0.01 s, 125x real time"),
        (10.04, 5.6, "10.0 s in 5.6 s, 1.8x real time"),
        (240.0, 20.0, "240.0 s in 20.0 s, 12x real time"),
    ],
)
def test_durations_and_speeds_have_digits_that_say_something(seconds, took, words):
    found = f"{progress.duration(seconds)} in {progress.duration(took)}, {progress.pace(seconds, took)}"
    assert found == words


def test_elsewhere_nothing_is_shown(capfd):
    with progress.song_progress("a.wav", 1000, 1000) as update:
        update(500)
    assert capfd.readouterr() == ("", "")
