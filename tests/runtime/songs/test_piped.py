"""Songs from standard input and from pipes: separated like files, and nothing of them stays behind."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from songs import song

from runtime.errors import AudioError
from runtime.songs import piped
from runtime.songs.inputs import STDIN, NamedSong, find_songs


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def given(monkeypatch):
    """Gives bytes as standard input."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def everything():
    return sorted(str(path) for path in Path("separated").rglob("*"))


def pipe(path, content):
    """A named pipe into which `content` is written as soon as somebody reads."""
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: Path(path).write_bytes(content), daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_standard_input_is_a_song(run, given, capsys, suffix):
    song(f"a.{suffix}")
    assert run(f"a.{suffix}", "-o", "expected") == 0
    given(Path(f"a.{suffix}").read_bytes())
    capsys.readouterr()
    assert run("-", "-", "--manifest", "done.jsonl") == 0
    stems = everything()
    assert [Path(stem).stem for stem in stems] == ["stdin_instrumental", "stdin_vocals"]
    for stem in stems:
        expected = Path("expected") / Path(stem).name.replace("stdin", "a")
        np.testing.assert_array_equal(soundfile.read(stem)[0], soundfile.read(expected)[0])
    assert capsys.readouterr().out.startswith("standard input: 0.2")
    assert json.loads(Path("done.jsonl").read_text())["song"] == "-"


def test_existing_stems_of_standard_input(run, given, capsys):
    song("a.wav")
    content = Path("a.wav").read_bytes()
    for options, code, message in [
        ([], 0, ""),
        ([], 2, "stdin_vocals.wav.*exists"),
        (["--skip-existing"], 0, "skipped"),
        (["--overwrite"], 0, "separated"),
    ]:
        given(content)
        capsys.readouterr()
        assert run("-", *options) == code
        out = capsys.readouterr()
        assert message.split(".*")[-1] in out.out + out.err
    assert len(everything()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "standard input: is empty"),
        (b"this is no song" * 50, "standard input: cannot be read as audio"),
    ],
)
def test_what_is_no_song_is_refused_under_its_name(run, given, capsys, content, message):
    given(content)
    assert run("-", "--manifest", "done.jsonl") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"bsm-run: {message}") and error.count("\n") == 1 and ".bsm-" not in error
    assert not Path("separated").exists()
    assert json.loads(Path("done.jsonl").read_text())["error"].startswith(message)


@pytest.mark.parametrize(("stdin", "what"), [(Terminal(), "is a terminal"), (None, "is closed")])
def test_a_standard_input_that_no_song_can_come_from(run, monkeypatch, capsys, stdin, what):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("-") == 2
    assert f"standard input {what}: pipe a song into it" in capsys.readouterr().err


def test_a_named_pipe_is_a_song(run, capsys):
    song("a.flac", samples=300_000)
    writing = pipe("b", Path("a.flac").read_bytes())
    assert run("b") == 0
    writing.join(10)
    assert everything() == ["separated/b_instrumental.flac", "separated/b_vocals.flac"]
    assert capsys.readouterr().out.startswith("b: ")


def test_pipes_in_a_folder_are_not_waited_for(tmp_path):
    song(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "b.wav")
    found = find_songs([tmp_path], False, tmp_path / "out").songs
    assert [each.path.name for each in found] == ["a.wav"]


def test_nothing_is_left_when_it_is_stopped(tmp_path, given):
    given(b"x" * 100_000)
    with pytest.raises(KeyboardInterrupt), piped.as_file(NamedSong(STDIN, Path("stdin")), tmp_path) as copy:
        assert copy.path.read_bytes() == b"x" * 100_000 and copy.path.is_relative_to(tmp_path)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_full_disk(tmp_path, given, monkeypatch):
    def full(source, target, length):
        raise OSError(28, "No space left on device")

    given(b"x")
    monkeypatch.setattr(piped.shutil, "copyfileobj", full)
    song = piped.as_file(NamedSong(STDIN, Path("stdin")), tmp_path)
    with pytest.raises(AudioError, match=r"^standard input: cannot be copied to .* \(No space left on device\)"), song:
        pass
    assert not list(tmp_path.iterdir())


def test_a_named_pipe_whose_program_is_slow_or_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(piped, "LONGEST_WAIT", 5)
    os.mkfifo(tmp_path / "slow")

    def write(pieces):
        time.sleep(0.1)
        with (tmp_path / "slow").open("wb", buffering=0) as pipe:
            for piece in pieces:
                time.sleep(0.1)
                pipe.write(piece)

    for pieces in ([b"x" * 1000] * 3, []):
        thread = threading.Thread(target=write, args=(pieces,))
        thread.start()
        with piped.as_file(NamedSong(tmp_path / "slow", Path("slow")), tmp_path) as copy:
            assert copy.path.read_bytes() == b"".join(pieces)
        thread.join()


def test_a_slow_pipe_that_does_not_block_is_read_to_its_end(tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading))

    def write():
        for _ in range(3):
            time.sleep(0.05)
            os.write(writing, b"x" * 1000)
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    with piped.as_file(NamedSong(STDIN, Path("stdin")), tmp_path) as copy:
        assert copy.path.stat().st_size == 3000
    thread.join()
    sys.stdin.close()
