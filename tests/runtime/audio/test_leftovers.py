"""Temporary files of processes that are gone are removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.audio import leftovers
from runtime.audio.leftovers import own_prefix, sweep, temporary_name
from runtime.audio.part import Part


def of(process: int, machine: str | None = None, token: str = "0123456789abcdef.part") -> str:
    return f".bsm-{machine or own_prefix().split('-')[1]}-{process}-{token}"


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_parts_of_processes_that_are_gone_are_removed(tmp_path, gone):
    living = Part(tmp_path / "a.wav")
    for name in (of(gone), of(gone, token="abcd_123"), of(gone, token="0123456789abcdef.old")):
        (tmp_path / name).touch()
    (tmp_path / of(gone, token="0123456789abcde0.old")).hardlink_to(living.part)
    (tmp_path / of(gone, token="abcd_124")).mkdir()
    (tmp_path / of(gone, token="abcd_124") / "song.wav").touch()
    assert sweep(tmp_path) == 4
    # A file that was to be replaced stays where it has no other name.
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [living.part.name, of(gone, token="0123456789abcdef.old")]
    )
    living.discard()


def test_parts_of_other_machines_and_earlier_versions_are_removed_when_they_are_old(tmp_path, gone):
    names = [of(gone, "0123456789ab"), ".bsm-0123456789abcdef.part"]
    for name in names:
        (tmp_path / name).touch()
    assert sweep(tmp_path) == 0
    for name in names:
        os.utime(tmp_path / name, (time.time(), time.time() - leftovers.OLD - 10))
    assert sweep(tmp_path) == 2


def test_files_that_only_look_like_it_stay(tmp_path, gone):
    names = [
        ".bsm-notes.txt",
        ".bsm-abcdefgh",
        "bsm-0123456789abcdef.part",
        f"x{of(gone)}",
        f"{of(gone)}.wav",
        "a.part",
    ]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    assert sweep(tmp_path) == 0 and len(list(tmp_path.iterdir())) == len(names)
    assert sweep(tmp_path / "none") == 0


def test_names_of_one_process_differ():
    assert temporary_name(".part") != temporary_name(".part")
    assert Path(temporary_name(".part")).name.startswith(own_prefix())
