"""How far a song is: seen on a terminal, nowhere else."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from runtime import progress


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
    assert re.search(r"3 of 9: a\\nb\.wav .* 25% 0\.12x real time.* \S*:\S*:\S*", shown), shown


def test_a_song_of_unknown_length_shows_how_much_is_done(terminal):
    with progress.song_progress("a.mp3", None, 1000) as update:
        update(7000)
    assert " 7 s " in terminal.getvalue()


def test_elsewhere_nothing_is_shown(capfd):
    with progress.song_progress("a.wav", 1000, 1000) as update:
        update(500)
    assert capfd.readouterr() == ("", "")
