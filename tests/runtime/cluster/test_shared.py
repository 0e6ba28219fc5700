"""`bsm-run --shared`: processes that know each other only by files in a folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from halving import halving_engine
from poison import poison
from songs import files, song
from test_local import wait_for

from runtime import cli
from runtime.cluster.board import Board
from runtime.command import exit_code

pytestmark = pytest.mark.seconds

LEASE = 3.0
STEMS = ("instrumental", "vocals")
MAIN = f"""
import sys
from runtime import cli
from runtime.cluster import local, shared
from poison import opened
if __name__ == "__main__":
    shared.LEASE = {LEASE}
    first, seconds = local.LocalProcesses.__init__, float(sys.argv.pop(1))
    local.LocalProcesses.__init__ = lambda self, job, jobs=1, **more: first(
        self, local.replace(job, options={{"seconds": seconds}}), jobs, opened
    )
    cli.main()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]))
    halving_engine(tmp_path / "x.onnx")
    Path("main.py").write_text(MAIN)
    return tmp_path


@pytest.fixture
def start(here):
    """Starts `bsm-run x.onnx in -r --shared work ...` with a short lease and an engine of poison.py."""
    started = []

    def begin(*args, seconds=0.0):
        command = [sys.executable, "main.py", str(seconds), "x.onnx", "in", "-r", "--shared", "work", *args]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def journals():
    paths = Path("work/journals").glob("*.jsonl")
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def by_song():
    return sorted((Path(line["song"]).name, line["status"]) for line in journals())


def test_two_processes_share_the_songs_and_a_third_finds_nothing_left(start):
    names = [f"{i}.flac" for i in range(12)]
    for name in names:
        song(f"in/x/{name}", samples=20000)
    first, second = start(seconds=0.02), start("--jobs", "2", seconds=0.02)
    outputs = [process.communicate(timeout=100) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert by_song() == sorted((name, "separated") for name in names)
    assert len({len(path.read_text()) > 0 for path in Path("work/journals").iterdir()}) == 1  # both had some
    assert len(files("separated")) == 24
    late = start()
    out, error = late.communicate(timeout=60)
    assert late.returncode == 0 and out.startswith("0 songs") and error == ""
    assert len(journals()) == 12


def test_the_songs_of_a_killed_process_are_taken_over_and_nothing_is_left(start):
    for name in "abcd":
        song(f"in/{name}.flac", samples=400_000)
    start(seconds=0.0).communicate(timeout=100)
    undisturbed = {name: Path("separated", name).read_bytes() for name in files()}
    Path("separated").rename("undisturbed")
    Path("work").rename("work before")

    killed = start(seconds=0.05)
    wait_for(lambda: list(Path().glob("separated/.bsm-*")))
    killed.kill()
    killed.communicate()
    joined = start("--jobs", "2")
    _, error = joined.communicate(timeout=100)
    assert joined.returncode == 0, error
    assert {name: Path("separated", name).read_bytes() for name in files()} == undisturbed
    assert by_song() == [(f"{name}.flac", "separated") for name in "abcd"]
    tries = [line.get("tries", 1) for line in journals()]
    assert sorted(tries) == [1, 1, 1, 2]


def test_a_song_that_kills_workers_fails_after_tries_on_all_machines_and_everybody_says_so(start, capsys):
    for name in "ab":
        song(f"in/{name}.wav")
    poison(Path("in/bad.wav"))
    processes = [start(), start()]
    outputs = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert by_song() == [("a.wav", "separated"), ("b.wav", "separated"), ("bad.wav", "failed")]
    assert sum(error.count("it is tried again") for _, error in outputs) == 2
    assert exit_code(cli.app, "bsm-run", ["--status", "work"]) == 0
    out = capsys.readouterr().out
    assert re.match(
        r"3 songs: 2 done, 1 failed, 0 claimed, 0 waiting\nfailed: .*bad.wav: its process died 3 times", out
    )


def test_stopped_it_gives_its_songs_back(start):
    song("in/a.wav", samples=44100 * 60)
    process = start(seconds=0.05)
    wait_for(lambda: list(Path().glob("separated/.bsm-*")))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "bsm-run: stopped\n")
    assert list(Path("work/songs").iterdir()) == [] and not Path("separated").exists()


def test_another_command_is_refused_and_the_list_stays_that_of_the_first(here, start, capsys):
    song("in/a.flac")
    assert start().wait(60) == 0
    run = ["x.onnx", "in", "-r", "--shared", "work"]
    for args, message in [
        ([*run, "--format", "wav"], "its run has format None, not 'wav'"),
        ([*run, "-o", "other"], "its run has output '.*separated', not '.*other'"),
        (["x.onnx", "in/a.flac", "--shared", "work"], "its run has other songs"),
        ([*run, "--overlap", "0.5"], "its run has overlap None, not 0.5"),
    ]:
        assert exit_code(cli.app, "bsm-run", args) == 2
        assert re.fullmatch(f"bsm-run: --shared work: {message}: .*another folder\n", capsys.readouterr().err)
    song("in/new.flac")  # comes too late
    late = start()
    assert late.wait(60) == 0 and len(files()) == 2
    halving_engine(here / "x.onnx", gain=0.25)
    assert exit_code(cli.app, "bsm-run", run) == 2
    assert "its run has engine_sha256" in capsys.readouterr().err


def test_the_status_says_who_is_at_what(start, capsys):
    for name in "abc":
        song(f"in/{name}.wav", samples=44100 * 20)
    process = start("--jobs", "2", seconds=0.05)
    wait_for(lambda: len(list(Path().glob("work/songs/*.try-1"))) == 2)
    for name in ("99.try-1", "98.done", "0.try-1"):  # of no song of this run
        Path("work/songs", name).touch()
    Path("work/journals/x.jsonl").write_text('{"time": "2026-01-01T00:00:00"}\n[]\n{"time": 1}\n')
    assert exit_code(cli.app, "bsm-run", ["--status", "work"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "3 songs: 0 done, 0 failed, 2 claimed, 1 waiting"
    assert re.fullmatch(rf"  \S+ \({process.pid}\): 2 songs", second)


@pytest.mark.parametrize("content", [b"", b"no list\n", b"[]\n", b'{"kind": "x"}\n', b"\xff\n"])
def test_a_folder_of_something_else_is_refused(here, capsys, content):
    song("in/a.wav")
    Path("work").mkdir()
    Path("work/list.jsonl").write_bytes(content)
    for args in (["--status", "work"], ["x.onnx", "in", "--shared", "work"]):
        assert exit_code(cli.app, "bsm-run", args) == 2
        assert re.fullmatch("bsm-run: work/list.jsonl: is not the list of a run.*\n", capsys.readouterr().err)


def test_names_in_the_list_of_a_shared_folder_stay_inside(here, capsys):
    song("in/a.flac")
    assert exit_code(cli.app, "bsm-run", ["x.onnx", "in", "--shared", "work"]) == 0
    path = Path("work/list.jsonl")
    path.write_text(path.read_text().replace('"name": "a"', '"name": "../../a"'))
    assert exit_code(cli.app, "bsm-run", ["x.onnx", "in", "--shared", "work"]) == 2
    assert "must stay in the output folder" in capsys.readouterr().err


def test_a_silent_owner_is_told(tmp_path, here, capsys):
    song("in/a.wav")
    song("in/b.wav")
    assert exit_code(cli.app, "bsm-run", ["x.onnx", "in", "--shared", "work"]) == 0
    for path in Path("work/songs").iterdir():
        path.unlink()
    board = Board(Path("work/songs"), {"host": "far", "process": 7}, 300)
    claim = board.take([1])
    os.utime(f"work/songs/{claim.song}.try-1", (time.time() - 1000,) * 2)
    assert exit_code(cli.app, "bsm-run", ["--status", "work"]) == 0
    assert re.search(r"a.wav: far \(7\) was not heard of for 10\d\d s \(try 1\)", capsys.readouterr().out)
