"""`bsm-run` as a process: signals, and what becomes of it when its streams or its folder go away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from songs import files, lines, song

pytestmark = pytest.mark.seconds

TESTS = Path(__file__).parents[1]
# A separator that halves the mixture and takes `sys.argv[1]` seconds for each chunk.
RUN = """
import signal, sys, time
from fakes import separator_of
from runtime import cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
seconds = float(sys.argv.pop(1))

def slow(mixture):
    time.sleep(seconds)
    return mixture[:, None] / 2

cli.open_separator = lambda *args, **options: separator_of(function=slow)
cli.main()
"""
hangup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{TESTS.parent}")


def start(*args, seconds=0.0, **streams):
    command = [sys.executable, "-c", RUN, str(seconds), "x.onnx", *args]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.Popen(command, text=True, **streams)


def wait_for(condition, process=None):
    deadline = time.monotonic() + 60
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def under_way(stem="b_vocals"):
    """A stem of an earlier song is there, one of another song is being written."""
    out = Path("separated")
    return out.exists() and list(out.glob(".bsm-*")) and (out / "a_vocals.flac").exists()


def songs():
    song("a.wav", samples=1000)
    song("b.wav", samples=44100 * 60)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", pytest.param("SIGHUP", marks=hangup)])
def test_a_signal_stops_it_and_nothing_is_half_written(name):
    songs()
    process = start("a.wav", "b.wav", "--manifest", "done.jsonl", "--format", "flac", seconds=0.05)
    wait_for(under_way, process)
    time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "bsm-run: stopped\n")
    assert files() == ["a_instrumental.flac", "a_vocals.flac"]
    assert [Path(line["song"]).name for line in lines()] == ["a.wav"]


@hangup
def test_a_second_signal_does_not_stop_the_clean_up():
    """A shell and the system may both say that the terminal was closed."""
    songs()
    process = start("a.wav", "b.wav", "--format", "flac", seconds=0.2)
    wait_for(under_way, process)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
        time.sleep(0.02)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "bsm-run: stopped\n")
    assert files() == ["a_instrumental.flac", "a_vocals.flac"]


@hangup
def test_under_nohup_it_goes_on():
    song("a.wav", samples=44100)
    process = start("a.wav", seconds=0.05, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_for(lambda: list(Path().glob("separated/.bsm-*")), process)
    process.send_signal(signal.SIGHUP)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    assert files() == ["a_instrumental.wav", "a_vocals.wav"]


@hangup
def test_a_closed_terminal_stops_it_and_leaves_nothing():
    import pty

    songs()
    child, terminal = pty.fork()
    if child == 0:
        args = ["a.wav", "b.wav", "--format", "flac"]
        os.execv(sys.executable, [sys.executable, "-c", RUN, "0.05", "x.onnx", *args])
    try:
        os.set_blocking(terminal, False)
        wait_for(lambda: _read(terminal) is not None and under_way())
    finally:
        os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert files() == ["a_instrumental.flac", "a_vocals.flac"]


def _read(terminal):
    """What it shows, so that it does not fill up."""
    try:
        return os.read(terminal, 1 << 16)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("streams", ["stdout", "both"])
@pytest.mark.parametrize("bad", [False, True])
def test_when_nobody_reads_it_any_more_all_songs_are_separated_and_the_exit_code_is_theirs(streams, bad):
    given = [f"{name}.wav" for name in "abcde"]
    for name in given:
        song(name, samples=100)
    if bad:
        Path("c.wav").write_text("no song")
    with start(*given, **({"stderr": subprocess.STDOUT} if streams == "both" else {})) as process:
        assert process.stdout.readline().startswith("a.wav: ")
        process.stdout.close()  # what `| head -1` does
        errors = [] if streams == "both" else process.stderr.read().splitlines()
    assert process.returncode == (2 if bad else 0)
    assert len(files()) == (8 if bad else 10)
    assert len(errors) == (2 if bad and streams == "stdout" else 0)  # the song, and how many failed
    assert all(line.startswith("bsm-run: ") for line in errors)


@full
@pytest.mark.parametrize("args", [["a.wav"], ["--help"], ["-h"], ["--version"]])
def test_a_full_standard_output_is_named(args):
    song("a.wav", samples=100)
    with Path("/dev/full").open("w") as stdout:
        process = start(*args, stdout=stdout)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (2, "bsm-run: standard output: No space left on device\n")


@full
def test_a_full_standard_error_is_no_internal_error():
    with Path("/dev/full").open("w") as stderr:
        process = start("none.wav", stderr=stderr)
        process.communicate(timeout=60)
    assert process.returncode == 2


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_does_not_matter(closed):
    song("a.wav", samples=100)
    number = {"stdout": 1, "stderr": 2}[closed]
    process = start("a.wav", **{closed: None}, preexec_fn=lambda: os.close(number))
    process.communicate(timeout=60)
    assert process.returncode == 0 and len(files()) == 2


def test_a_folder_that_no_longer_exists_is_named():
    Path("gone").mkdir()
    script = Path("run.py").absolute()
    script.write_text("import os; os.chdir('gone'); os.rmdir('../gone')\n" + RUN)
    command = [sys.executable, script, "0", "x.onnx", "a.wav"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bsm-run: the current folder no longer exists: change to another folder\n"
