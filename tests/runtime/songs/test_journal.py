"""The record of what was done: one line a song, whatever was in the file before."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from runtime.errors import OptionError
from runtime.songs.journal import Journal


def test_lines_are_added_as_they_come(tmp_path):
    path = tmp_path / "done.jsonl"
    with Journal(path) as journal:
        journal.add(song=Path("a.wav"), status="separated", stems={"vocals": Path("b")})
        first = json.loads(path.read_text())  # there before the journal is closed
        journal.add(song=Path(os.fsdecode(b"caf\xe9\n.wav")), status="failed")
    with Journal(path) as journal:
        journal.add(song="c", status="skipped")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == first and [line["status"] for line in lines] == ["separated", "failed", "skipped"]
    assert first["song"] == "a.wav" and first["stems"] == {"vocals": "b"}
    assert os.fsencode(lines[1]["song"]) == b"caf\xe9\n.wav"
    assert datetime.fromisoformat(first["time"]).utcoffset().total_seconds() == 0


def test_a_line_that_was_torn_stays_alone(tmp_path):
    path = tmp_path / "done.jsonl"
    path.write_text('{"song": "a"}\n{"so')
    with Journal(path) as journal:
        journal.add(song="b")
        journal.add(song="c")
    lines = path.read_text().splitlines()
    assert lines[1] == '{"so' and [json.loads(line)["song"] for line in lines[2:]] == ["b", "c"]


def test_what_cannot_be_a_journal_is_refused_and_kept(tmp_path):
    song = tmp_path / "song.wav"
    song.write_bytes(b"RIFF....")
    with pytest.raises(OptionError, match="song.wav: .* not a file of JSON lines"):
        Journal(song)
    assert song.read_bytes() == b"RIFF...."
    with pytest.raises(OptionError, match=r"--manifest .*: cannot be written \(Is a directory\)"):
        Journal(tmp_path)
    with pytest.raises(OptionError, match=r"cannot be written \(No such file or directory\)"):
        Journal(tmp_path / "none" / "x.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line():
    with (
        Journal(Path("/dev/full")) as journal,
        pytest.raises(OptionError, match=r"--manifest /dev/full: cannot be written \(No space left on device\)"),
    ):
        journal.add(song="a")
