"""`bsm-run` on many songs: each gets its own stems, and what happens to one does not touch the others."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from fakes import separator_of
from songs import files, lines, song

from runtime import cli
from runtime.songs import progress


def test_a_tree_of_songs_keeps_its_form(run, capsys):
    audio = {name: song(name) for name in ("m/a.wav", "m/x/a.flac", "m/x/y/b.wav")}
    assert run("-r", "m", "--stems", "vocals") == 0
    assert files() == ["a_vocals.wav", "x/a_vocals.flac", "x/y/b_vocals.wav"]
    vocals, _ = soundfile.read("separated/x/y/b_vocals.wav")
    np.testing.assert_allclose(vocals, audio["m/x/y/b.wav"] / 2, atol=1e-5)
    out = capsys.readouterr().out
    assert "\n3 songs: 3 separated, 0 skipped, 0 failed; 0.68 s of audio in " in out
    assert run("-r", "m", "--skip-existing") == 0  # the stems just written are no songs
    assert "3 songs: 3 separated" in capsys.readouterr().out


def test_songs_of_one_name_do_not_collide(run):
    song("a/x.wav", samples=100)
    song("b/x.wav", samples=200)
    song("b/x.flac", samples=300)
    assert run("a/x.wav", "b/x.wav", "b/x.flac", "--stems", "vocals") == 0
    lengths = {name: soundfile.info(f"separated/{name}").frames for name in files()}
    assert lengths == {"a/x_vocals.wav": 100, "b/x.wav_vocals.wav": 200, "b/x.flac_vocals.flac": 300}


def test_stems_of_two_songs_that_would_share_a_file_are_refused(run, capsys, monkeypatch):
    monkeypatch.setattr(cli, "open_separator", lambda *_, **__: separator_of((1, 1), stems=["b_c", "c"]))
    song("a.wav")
    song("a_b.wav")
    assert run("a.wav", "a_b.wav") == 2
    error = capsys.readouterr().err
    assert re.fullmatch("bsm-run: a.wav and a_b.wav: .* written to separated/a_b_c: .* two runs.*\n", error)
    assert not Path("separated").exists()


def test_a_bad_song_does_not_stop_the_others(run, capsys):
    song("a.wav")
    song("c.wav")
    Path("b.wav").write_text("no song")
    song("d.wav", channels=3)
    assert run("a.wav", "b.wav", "none.wav", "d.wav", "c.wav", "--manifest", "done.jsonl", "--stems", "vocals") == 2
    assert files() == ["a_vocals.wav", "c_vocals.wav"]
    out, error = capsys.readouterr()
    messages = error.splitlines()
    assert messages[0].startswith("bsm-run: b.wav: cannot be read as audio")
    assert messages[1].startswith("bsm-run: none.wav: does not exist")
    assert messages[2].startswith("bsm-run: d.wav: has 3 channels")
    assert messages[3:] == ["bsm-run: 3 of 5 songs failed"]
    assert "5 songs: 2 separated, 0 skipped, 3 failed" in out
    assert [line["status"] for line in lines()] == ["separated", "failed", "failed", "failed", "separated"]
    assert lines()[1]["error"] == messages[0].removeprefix("bsm-run: ")


def test_a_folder_that_cannot_be_read_does_not_stop_the_others(run, capsys, locked):
    song("m/a.wav")
    song("m/locked/b.wav")
    locked("m/locked")
    assert run("-r", "m", "--stems", "vocals") == 2
    assert files() == ["a_vocals.wav"]
    first, last = capsys.readouterr().err.splitlines()
    assert first == "bsm-run: m/locked: cannot be read (Permission denied)"
    assert last == "bsm-run: 1 folder could not be read"


def test_the_traceback_of_a_failure_among_others_is_shown_when_asked_for(run, capsys):
    song("a.wav")
    assert run("none.wav", "a.wav", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err
    assert "a_vocals.wav" in files()


def test_a_form_that_one_song_cannot_have_does_not_stop_the_others(run, capsys):
    song("high.wav", rate=96000)
    song("a.wav")
    song("b.flac")
    assert run("high.wav", "a.wav", "--format", "mp3", "--stems", "vocals") == 2
    assert run("a.wav", "b.flac", "--subtype", "PCM_S8", "--stems", "vocals") == 2
    assert files() == ["a_vocals.mp3", "b_vocals.flac"]
    first, _, second, _ = capsys.readouterr().err.splitlines()
    assert first.startswith("bsm-run: high.wav: MP3 files cannot have 96000 Hz, only 8000, ")
    assert second.startswith("bsm-run: a.wav: subtype PCM_S8: WAV files hold PCM_U8, ")


def test_what_the_engine_fails_at_names_the_song_and_does_not_stop_the_others(run, capsys, monkeypatch):
    def only_positive(mixture):  # of which there is a sign in the lowest bin
        return mixture[:, None] * (np.nan if mixture[:, :, 0].sum() < 0 else 1)

    monkeypatch.setattr(cli, "open_separator", lambda *_, **__: separator_of(function=only_positive))
    soundfile.write("below.wav", np.full((9000, 2), -0.5), 44100)
    soundfile.write("above.wav", np.full((9000, 2), 0.5), 44100)
    assert run("below.wav", "above.wav", "--stems", "vocals") == 2
    assert files() == ["above_vocals.wav"]
    assert capsys.readouterr().err.startswith("bsm-run: below.wav: the engine returned NaN or Inf for the chunk at 0.0")


def test_the_manifest_says_what_was_done(run):
    song("a.wav", rate=48000)
    assert run("a.wav", "--manifest", "done.jsonl", "--plot", "--subtype", "PCM_24") == 0
    (line,) = lines()
    here = Path.cwd()
    assert line["engine"] == "x.onnx" and line["song"] == str(here / "a.wav") and line["status"] == "separated"
    assert line["stems"]["vocals"] == str(here / "separated" / "a_vocals.wav")
    assert line["written"] == [*line["stems"].values(), line["plot"]]
    assert all(Path(path).is_file() for path in line["written"])
    assert (line["sample_rate"], line["channels"], line["samples"], line["form"]) == (48000, 2, 10000, "WAV PCM_24")
    assert line["took"] > 0 and line["gain"] == 1 and line["clipped"] == {"vocals": 0, "instrumental": 0}


def test_pictures_are_drawn_beside_the_stems_and_later_without_the_engine(run, capsys, separated):
    song("m/x/a.wav")
    song("m/b.wav")
    assert run("-r", "m") == 0
    assert not [name for name in files() if name.endswith(".png")]
    assert run("-r", "m", "--plot", "--skip-existing") == 0
    assert [name for name in files() if name.endswith(".png")] == ["b.png", "x/a.png"]
    assert len(separated) == 2 and "m/b.wav: picture drawn, its stems exist\n" in capsys.readouterr().out
    assert run("m/b.wav", "--plot", "--stems", "vocals") == 2  # the picture exists, too


def test_a_picture_shows_how_far_it_is(run, monkeypatch):
    shown = []

    @contextmanager
    def shown_progress(label, samples, rate):
        yield lambda done: shown.append((label, done, samples, rate))

    monkeypatch.setattr(progress, "song_progress", shown_progress)
    song("a.wav", samples=100000)
    assert run("a.wav", "--plot") == 0
    labels = list(dict.fromkeys(label for label, *_ in shown))
    assert labels == ["a.wav", "a.wav: picture"]
    assert {(samples, rate) for _, _, samples, rate in shown} == {(100000, 44100)}
    done = [done for label, done, *_ in shown if label == labels[1]]
    assert len(done) == 6 and done == sorted(done) and done[-1] == 100000  # two blocks of three sounds


def test_a_picture_that_cannot_be_written_leaves_the_stems(run, capsys):
    Path("separated/a.png").mkdir(parents=True)
    song("a.wav")
    assert run("a.wav", "--plot", "--overwrite") == 2
    assert capsys.readouterr().err.startswith("bsm-run: separated/a.png: is a folder")
    assert files() == ["a_instrumental.wav", "a_vocals.wav"]


def test_without_matplotlib_a_picture_is_refused_before_the_work(run, capsys, monkeypatch, separated):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    song("a.wav")
    assert run("a.wav", "--plot") == 2
    assert capsys.readouterr().err == "bsm-run: pictures need matplotlib: pip install 'bsmamba2[report]'\n"
    assert not separated and run("a.wav") == 0


def test_folders_made_for_a_song_that_fails_are_removed(run):
    song("m/x/y/a.wav", channels=3)
    Path("out").mkdir()
    assert run("-r", "m", "-o", "out/deep") == 2
    assert Path("out").is_dir() and not list(Path("out").iterdir())
