"""`bsm-run` on files: what it writes, what it says, and what it refuses before it writes anything."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile
from fakes import separator_of

from runtime import cli
from runtime.command import exit_code


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`bsm-run x.onnx ...` in an empty folder, with an engine whose vocals are half the mixture."""
    monkeypatch.chdir(tmp_path)

    def opened(engine, *, overlap, batch, threads, device):
        return separator_of(overlap=overlap, batch=batch)

    monkeypatch.setattr(cli, "open_separator", opened)
    return lambda *args: exit_code(cli.app, "bsm-run", ["x.onnx", *map(str, args)])


def song(path, channels=2, rate=44100, samples=10000):
    audio = np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels)).astype(np.float32)
    soundfile.write(path, audio, rate, subtype="FLOAT" if str(path).endswith("wav") else None)
    return audio


@pytest.mark.parametrize(("channels", "rate", "samples"), [(2, 44100, 10000), (1, 44100, 1), (2, 48000, 30011)])
def test_writes_both_stems_in_the_song_s_own_terms(run, tmp_path, capsys, channels, rate, samples):
    audio = song("my song.wav", channels, rate, samples)
    assert run("my song.wav") == 0
    stems = [
        soundfile.read(tmp_path / "separated" / f"my song_{s}.wav", always_2d=True) for s in ("vocals", "instrumental")
    ]
    for stem, stem_rate in stems:
        assert stem.shape == (samples, channels) and stem_rate == rate
    np.testing.assert_allclose(stems[0][0] + stems[1][0], audio, atol=1e-6)
    out = capsys.readouterr().out
    assert "my song.wav: " in out and "separated/my song_instrumental.wav" in out and "% of" in out


def test_options_choose_stems_folder_and_subtype(run, tmp_path):
    song("a.wav")
    song("b.flac")
    assert run("a.wav", "b.flac", "-o", "out/deep", "--stems", "instrumental", "--subtype", "PCM_16") == 0
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == [
        "a_instrumental.wav",
        "b_instrumental.wav",
    ]
    assert soundfile.info("out/deep/a_instrumental.wav").subtype == "PCM_16"


def test_existing_stems_are_kept_unless_told_otherwise(run, capsys, tmp_path):
    song("a.wav")
    assert run("a.wav") == 0
    before = (tmp_path / "separated" / "a_vocals.wav").read_bytes()
    song("a.wav", samples=500)
    assert run("a.wav") == 2
    assert "a_vocals.wav exists: choose another folder with -o, or give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "separated" / "a_vocals.wav").read_bytes() == before
    assert run("a.wav", "--overwrite") == 0
    assert soundfile.info("separated/a_vocals.wav").frames == 500


@pytest.mark.parametrize("name", ["a.wav", "none.wav"])
def test_the_backend_s_notes_are_printed_once_and_it_is_closed(monkeypatch, tmp_path, capsys, name):
    monkeypatch.chdir(tmp_path)
    song("a.wav")
    separator = separator_of()
    separator.backend.notes.append("found when it was opened")
    closed = []
    monkeypatch.setattr(separator.backend, "close", lambda: closed.append(True))
    run = separator.backend.run

    def noting(mixture):
        if len(separator.backend.notes) == 1:
            separator.backend.notes.append("found on the way")
        return run(mixture)

    monkeypatch.setattr(separator.backend, "run", noting)
    monkeypatch.setattr(cli, "open_separator", lambda engine, **options: separator)
    assert exit_code(cli.app, "bsm-run", ["x.onnx", name]) == (0 if name == "a.wav" else 2)
    error = capsys.readouterr().err
    assert error.startswith("bsm-run: found when it was opened\n")
    assert ("bsm-run: found on the way\n" in error) == (name == "a.wav")
    assert error.count("opened") == 1 and closed == [True]


def test_a_bad_song_does_not_stop_the_others(run, capsys, tmp_path):
    song("good.wav")
    (tmp_path / "bad.wav").write_text("no song")
    assert run("bad.wav", "good.wav") == 2
    assert (tmp_path / "separated" / "good_vocals.wav").exists()
    error = capsys.readouterr().err
    assert "bad.wav: cannot be read as audio" in error and "1 of 2 songs failed" in error


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a.wav", "sub/a.wav"], "would both be written to separated/a_vocals.wav"),
        (["none.wav"], "none.wav: does not exist"),
        (["surround.wav"], "surround.wav: 6 channels: expected mono or stereo"),
        (["a.wav", "--stems", "drums"], "--stems drums: this engine gives vocals, instrumental"),
        (["a.wav", "--overlap", "1"], "overlap 1.0: expected a number from 0 to 0.9"),
        (["a.wav", "--batch", "0"], "this engine takes 1 to 8 chunks"),
        (["a.wav", "--subtype", "MP3"], "'MP3' is not one of"),
        (["a.wav", "-o", "a.wav/deep"], "cannot be made a folder"),
        ([], "Missing argument"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(run, capsys, tmp_path, args, message):
    (tmp_path / "sub").mkdir()
    song("a.wav")
    song("sub/a.wav")
    song("surround.wav", channels=6)
    assert run(*args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1 and error.startswith("bsm-run: ")
    assert not list(tmp_path.rglob("*_vocals.wav"))


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "bsm-run: stopped\n"),
        (MemoryError(), 2, "bsm-run: out of memory: use a smaller batch, a shorter chunk or a shorter song\n"),
        (
            ZeroDivisionError("oops"),
            1,
            "bsm-run: a fault of bsm-run itself, ZeroDivisionError: oops (--debug shows where)\n",
        ),
    ],
)
def test_interruptions_and_faults(run, capsys, monkeypatch, error, code, message):
    song("a.wav")

    def broken(path):
        raise error

    monkeypatch.setattr(cli, "read_song", broken)
    assert run("a.wav") == code
    assert capsys.readouterr().err == message
    if code != 130:
        run("a.wav", "--debug")
        assert "Traceback" in capsys.readouterr().err


def test_a_song_is_never_overwritten_by_a_stem(run, capsys, tmp_path):
    (tmp_path / "separated").mkdir()
    song("separated/a_vocals.wav")
    song("separated/a.wav")
    before = (tmp_path / "separated" / "a_vocals.wav").read_bytes()
    assert run("separated/a.wav", "separated/a_vocals.wav", "--overwrite") == 2
    assert "separated/a_vocals.wav is one of the songs" in capsys.readouterr().err
    assert (tmp_path / "separated" / "a_vocals.wav").read_bytes() == before


def test_a_link_to_nowhere_counts_as_existing(run, capsys, tmp_path):
    song("a.wav")
    (tmp_path / "separated").mkdir()
    (tmp_path / "separated" / "a_vocals.wav").symlink_to(tmp_path / "nowhere")
    assert run("a.wav") == 2
    assert "a_vocals.wav exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [("x" * 300 + ".wav", "File name too long"), ("two\nlines.wav", "two\\nlines.wav: does not exist")],
)
def test_odd_names_stay_one_line(run, capsys, name, message):
    assert run(name) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_names_that_are_no_text(run, tmp_path):
    song("a.wav")
    odd = tmp_path / os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "a.wav").rename(odd)
    assert run(odd) == 0
    assert (tmp_path / "separated" / os.fsdecode(b"caf\xe9_vocals.wav")).exists()


def test_a_pipe_is_no_song(run, capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert run("pipe.wav") == 2
    assert "pipe.wav: is not a file" in capsys.readouterr().err
