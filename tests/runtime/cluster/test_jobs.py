"""`bsm-run --jobs`: the same stems, names, journal and exit code as one process, from several."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from halving import halving_engine
from songs import files, lines, song
from test_local import wait_for

from runtime import cli
from runtime.command import exit_code

pytestmark = pytest.mark.seconds


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`bsm-run x.onnx ...` with a real engine whose vocals are half the mixture, in the folder of it."""
    monkeypatch.chdir(tmp_path)
    halving_engine(tmp_path / "x.onnx")
    return lambda *args: exit_code(cli.app, "bsm-run", ["x.onnx", *map(str, args)])


def contents(folder="separated"):
    return {name: Path(folder, name).read_bytes() for name in files(folder)}


def test_all_is_as_with_one_process(run, capsys):
    for name in ("m/a.flac", "m/x/a.flac", "m/x/b.flac", "m/c.flac"):
        song(name)
    Path("m/c.flac").write_text("no song")
    args = ("m", "-r", "--manifest", "done.jsonl")
    assert run(*args, "-o", "one") == 2
    alone = capsys.readouterr()
    assert run(*args, "-o", "two", "--jobs", "2") == 2
    shared = capsys.readouterr()
    assert contents("one") == contents("two") and len(contents("two")) == 6
    assert shared.err.replace(str(Path.cwd()) + "/", "") == alone.err.replace(str(Path.cwd()) + "/", "")
    assert "m/x/a.flac: 0.23 s separated in" in shared.out and "\n  two/x/a_vocals.flac\n" in shared.out
    assert re.search("^4 songs: 3 separated, 0 skipped, 1 failed; 0.68 s of audio in", shared.out, re.M)
    journal = [{**line, "time": 0, "took": 0} for line in lines()]
    one, two = (sorted(each, key=lambda line: line["song"]) for each in (journal[:4], journal[4:]))
    same = json.dumps(two).replace("/two/", "/one/").replace(f'"error": "{Path.cwd()}/', '"error": "')
    assert json.loads(same) == one and len({line["engine_sha256"] for line in journal}) == 1


def test_auto_takes_the_cores_and_says_nothing_of_it(run, capsys):
    for name in "abc":
        song(f"{name}.wav")
    assert run("a.wav", "b.wav", "c.wav", "--jobs", "auto", "--device", "cpu") == 0
    assert len(files()) == 6 and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--jobs", "0"], "--jobs 0: must be auto or a number from 1 to 1024"),
        (["--jobs", "2", "--stems", "drums"], "--stems drums: this engine's stems are vocals, instrumental"),
        (["--jobs", "2", "--overlap", "1"], "--overlap 1.0: must be between 0 and 0.9"),
        (["--jobs", "2", "--device", "gpu"], "--device gpu: must be auto, cpu"),
        (["--jobs", "2", "-o", "a.wav"], "a.wav: the folder cannot be created"),
        (["--shared", "s", "--manifest", "done.jsonl"], "--manifest: not with --shared"),
        (["--shared", "a.wav"], "--shared a.wav: cannot be written"),
    ],
)
def test_mistakes_are_one_line(run, capsys, args, message):
    song("a.wav")
    song("b.wav")
    assert run("a.wav", "b.wav", *args) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert re.search(f"^bsm-run: .*{message}", first) and len(rest) in (0, 2)
    assert files(".") == ["a.wav", "b.wav", "x.json", "x.onnx"]


def test_a_pipe_cannot_be_read_by_another_process(run, capsys):
    os.mkfifo("pipe.wav")
    song("a.wav")
    assert run("pipe.wav", "a.wav", "--jobs", "2") == 2
    assert re.search("pipe.wav: can be read only once: .* without --jobs", capsys.readouterr().err)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_song_of_the_journal_is_skipped_without_a_look_into_it(run, capsys, jobs):
    for name in ("a.flac", "b.flac"):
        song(name)
    args = ("a.flac", "b.flac", "--skip-existing", "--manifest", "done.jsonl", "--jobs", jobs)
    assert run(*args) == 0
    before = contents()
    Path("a.flac").write_text("no song any more")  # to look into it would be an error
    capsys.readouterr()
    assert run(*args) == 0
    assert "a.flac: skipped, its stems exist\n" in capsys.readouterr().out
    assert contents() == before and [line["status"] for line in lines()] == ["separated"] * 2 + ["skipped"] * 2


def test_another_engine_format_or_a_missing_stem_is_looked_at(run, capsys):
    for name in ("a.flac", "b.flac"):
        song(name)
    args = ("a.flac", "b.flac", "--skip-existing", "--manifest", "done.jsonl")
    assert run(*args) == 0
    Path("a.flac").write_text("no song any more")
    assert run(*args, "--format", "wav") == 2
    assert run(*args, "--plot") == 2
    Path("separated/a_vocals.flac").rename("x.flac")
    assert run(*args) == 2
    Path("x.flac").rename("separated/a_vocals.flac")
    assert run(*args) == 0
    halving_engine(Path("x.onnx"), gain=0.25)
    assert run(*args) == 2
    assert capsys.readouterr().err.count("a.flac: cannot be read as audio") == 4


def test_parts_of_killed_runs_are_removed(run, capsys):
    song("m/x/a.wav")
    song("m/b.wav")
    song("separated/x/keep.wav")
    code = "import os, sys; from pathlib import Path; from runtime.audio.part import Part\n"
    code += "Part(Path('separated/x/a.wav')); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(Path("separated/x").glob(".bsm-*"))) == 1
    assert run("m", "-r", "--stems", "vocals", "--jobs", "2") == 0
    assert "removed 1 temporary file of runs that were killed" in capsys.readouterr().err
    assert files() == ["b_vocals.wav", "x/a_vocals.wav", "x/keep.wav"]


@contextmanager
def largest_file(size):
    """Processes started here cannot write more into a file; a write that goes beyond is an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_where_the_disk_takes_no_more_each_song_fails_with_its_reason(run, capsys):
    for name in "abc":
        song(f"{name}.wav", samples=50_000 if name == "b" else 1000)
    with largest_file(100_000):
        assert run("a.wav", "b.wav", "c.wav", "--jobs", "2") == 2
    assert re.search(r"b_\w+.wav: cannot be written \(File too large\)", capsys.readouterr().err)
    assert files() == [f"{n}_{s}.wav" for n in "ac" for s in ("instrumental", "vocals")]


SIGNALLED = """
import signal, sys
from runtime import cli
from runtime.cluster import many, local
from poison import opened
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    first = local.LocalProcesses.__init__
    local.LocalProcesses.__init__ = lambda self, job, jobs, **more: first(
        self, local.replace(job, options={"seconds": 0.05}), jobs, opened, **more
    )
    cli.main()
"""


def at_work(parts):
    """The first song is done, and so many stems of others are being written."""
    return Path("separated/a_vocals.flac").exists() and len(list(Path().glob("separated/.bsm-*"))) == parts


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_stops_all_processes_and_nothing_is_half_written(run, tmp_path, monkeypatch, name):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]))
    Path("main.py").write_text(SIGNALLED)
    song("a.wav", samples=100)
    for each in "bc":
        song(f"{each}.wav", samples=44100 * 60)
    args = ["x.onnx", "a.wav", "b.wav", "c.wav", "--jobs", "2", "--format", "flac", "--manifest", "done.jsonl"]
    process = subprocess.Popen(
        [sys.executable, "main.py", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: process.poll() is not None or at_work(4))
    assert process.poll() is None
    workers = {path.name.split("-")[2] for path in Path("separated").glob(".bsm-*")}
    process.send_signal(getattr(signal, name))
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "bsm-run: stopped\n")
    assert files() == ["a_instrumental.flac", "a_vocals.flac"] and len(lines()) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
