"""Files that exist: kept, skipped or replaced, also where another process or an earlier run made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import separator_of
from songs import files, lines, song

from runtime import cli


def test_a_song_fails_where_its_stems_exist_and_the_others_go_on(run, capsys, separated):
    song("a.wav")
    song("b.wav")
    song("separated/a_vocals.wav", samples=77)
    assert run("a.wav", "b.wav") == 2
    assert separated == ["b.wav"]
    assert soundfile.info("separated/a_vocals.wav").frames == 77
    assert "separated/a_vocals.wav: already exists: choose" in capsys.readouterr().err


def test_skip_existing_makes_what_is_missing_and_touches_nothing_else(run, capsys, separated):
    song("a.wav")
    song("b.wav")
    song("separated/a_vocals.wav", samples=77)
    assert run("a.wav", "b.wav", "--skip-existing", "--manifest", "done.jsonl") == 0
    assert soundfile.info("separated/a_vocals.wav").frames == 77
    assert soundfile.info("separated/a_instrumental.wav").frames == 10000
    assert [Path(path).name for path in lines()[0]["written"]] == ["a_instrumental.wav"]
    before = {name: Path("separated", name).stat().st_mtime_ns for name in files()}
    capsys.readouterr()
    assert run("a.wav", "b.wav", "--skip-existing", "--manifest", "done.jsonl") == 0
    assert {name: Path("separated", name).stat().st_mtime_ns for name in files()} == before
    assert separated == ["a.wav", "b.wav"]
    out = capsys.readouterr().out
    assert "a.wav: skipped, its stems exist\n" in out and "2 songs: 0 separated, 2 skipped, 0 failed\n" in out
    assert [line["status"] for line in lines()[2:]] == ["skipped", "skipped"]


def test_a_song_is_never_overwritten_by_a_stem(run, capsys):
    song("separated/a_vocals.wav")
    song("separated/a.wav")
    before = Path("separated/a_vocals.wav").read_bytes()
    assert run("separated/a.wav", "separated/a_vocals.wav", "--overwrite") == 2
    assert "separated/a_vocals.wav: is one of the songs: choose another folder" in capsys.readouterr().err
    assert Path("separated/a_vocals.wav").read_bytes() == before


# Two processes, one folder


@pytest.fixture
def meanwhile(monkeypatch):
    """Gives a function, by which what another process does is done while the engine runs."""

    def set_up(act):
        def function(mixture):
            act()
            return mixture[:, None] / 2

        monkeypatch.setattr(cli, "open_separator", lambda *_, **__: separator_of(function=function))

    return set_up


def their(*names):
    for name in names:
        if not Path(name).exists():
            song(name, samples=77)


@pytest.mark.parametrize("which", ["vocals", "instrumental"])
def test_stems_that_another_process_made_meanwhile_are_kept_and_the_song_fails(run, capsys, meanwhile, which):
    song("a.wav")
    song("b.wav")
    meanwhile(lambda: their(f"separated/a_{which}.wav"))
    assert run("a.wav", "b.wav", "--manifest", "done.jsonl") == 2
    assert files() == sorted([f"a_{which}.wav", "b_instrumental.wav", "b_vocals.wav"])
    assert soundfile.info(f"separated/a_{which}.wav").frames == 77
    error, summary = capsys.readouterr().err.splitlines()
    assert error.startswith(f"bsm-run: separated/a_{which}.wav: already exists") and "--overwrite" in error
    assert summary == "bsm-run: 1 of 2 songs failed"
    assert [line["status"] for line in lines()] == ["failed", "separated"]


def test_with_skip_existing_a_song_that_another_process_made_meanwhile_is_skipped(run, capsys, meanwhile):
    song("a.wav")
    song("b.wav")
    meanwhile(lambda: their("separated/a_vocals.wav", "separated/a_instrumental.wav", "separated/b_vocals.wav"))
    assert run("a.wav", "b.wav", "--skip-existing", "--manifest", "done.jsonl") == 0
    lengths = {name: soundfile.info(f"separated/{name}").frames for name in files()}
    expected = {"a_instrumental.wav": 77, "a_vocals.wav": 77, "b_instrumental.wav": 10000, "b_vocals.wav": 77}
    assert lengths == expected
    out = capsys.readouterr().out
    assert "a.wav: skipped" in out and "  separated/b_instrumental.wav\n" in out and "b_vocals" not in out
    assert "2 songs: 1 separated, 1 skipped, 0 failed" in out
    first, second = lines()
    assert first["status"] == "skipped" and first["written"] == [] and "took" not in first
    assert [Path(path).name for path in second["written"]] == ["b_instrumental.wav"]


def test_with_overwrite_stems_that_another_process_made_meanwhile_are_replaced(run, meanwhile):
    song("a.wav")
    meanwhile(lambda: their("separated/a_vocals.wav"))
    assert run("a.wav", "--overwrite") == 0
    assert soundfile.info("separated/a_vocals.wav").frames == 10000


@pytest.mark.parametrize(("options", "code"), [([], 2), (["--skip-existing"], 0)])
def test_a_picture_that_another_process_made_meanwhile_is_kept(run, capsys, meanwhile, options, code):
    song("a.wav")
    meanwhile(lambda: Path("separated/a.png").write_bytes(b"theirs"))
    assert run("a.wav", "--plot", *options) == code
    assert files() == ["a.png", "a_instrumental.wav", "a_vocals.wav"]
    assert Path("separated/a.png").read_bytes() == b"theirs"
    out, error = capsys.readouterr()
    assert "a.png" not in out and ("separated/a.png: already exists" in error) == bool(code)


# Stems among the songs


def samples_in(folder):
    """Of all its files: their bytes differ with the time that libsndfile writes into floating-point WAV files."""
    return {name: soundfile.read(Path(folder, name))[0].tobytes() for name in files(folder)}


def test_a_second_run_into_the_folder_of_the_songs_changes_nothing(run, capsys, separated):
    song("m/a.wav")
    song("m/b.flac")
    song("m/c_vocals.wav")  # without a song c: a song
    assert run("m", "-o", "m") == 0
    first = samples_in("m")
    assert len(first) == 9
    capsys.readouterr()
    for option, count in (("--skip-existing", 3), ("--overwrite", 6)):
        assert run("m", "-o", "m", option) == 0
        assert samples_in("m") == first
        assert len(separated) == count
        assert capsys.readouterr().err.startswith("bsm-run: skipping 6 stems of other songs (give a file by name")
    assert run("m", "-o", "m") == 2  # each song fails, none of them for being a song
    assert capsys.readouterr().err.count("_vocals.wav: already exists: ") == 2
    assert files("m") == sorted(first)


def test_a_stem_given_by_name_is_a_song(run, capsys, separated):
    song("m/a.wav")
    assert run("m", "-o", "m", "--stems", "vocals") == 0
    assert run("m", "m/a_vocals.wav", "-o", "out", "--stems", "vocals") == 0
    assert separated == ["m/a.wav", "m/a.wav", "m/a_vocals.wav"]
    assert files("out") == ["a_vocals.wav", "a_vocals_vocals.wav"] and not capsys.readouterr().err


@pytest.mark.parametrize("form", ["wav", "flac", "ogg"])
def test_what_a_run_into_its_own_songs_writes_in_other_forms_is_no_song_either(run, separated, form):
    song("m/a.wav")
    assert run("m", "-o", "m", "--format", form) == 0
    assert run("m", "-o", "m", "--overwrite") == 0
    assert separated == ["m/a.wav", "m/a.wav"]


@pytest.mark.parametrize(
    ("songs", "arguments"),
    [
        (["m/a.wav"], ["m", "-o", "m"]),
        (["m/x/a.wav", "m/b.wav"], ["-r", "m", "-o", "m"]),
        (["m/x/a.wav", "m/x/a.flac"], ["-r", "m", "-o", "m"]),  # told apart by their suffix
        (["a/x.wav", "b/x.wav", "b/y.wav"], ["-r", "a", "b", "-o", "a"]),  # told apart by their folder, inside of a
        (["a/x.wav", "b/x.wav", "c/x_vocals.wav"], ["-r", ".", "-o", "."]),
        (["a/x.wav", "b/x.wav"], ["a", "b", "-o", "."]),
        (["a/x.wav", "b/x_vocals.wav"], ["a", "b", "-o", "a"]),
        (["m/a.wav"], ["m", "-o", "m/deep"]),
        (["m/x/a.wav"], ["-r", "m/x", "-o", "m"]),
        (["m/caf\u00e9.wav", "m/Cafe\u0301.flac"], ["m", "-o", "m"]),
    ],
)
def test_no_folder_grows_with_the_number_of_runs(run, songs, arguments):
    for name in songs:
        song(name, samples=1000)
    assert run(*arguments) == 0
    first = files(".")
    assert len(first) > len(songs)
    for _ in range(2):
        assert run(*arguments, "--skip-existing") == 0
        assert files(".") == first


def test_stems_are_known_through_links_to_their_folder(run, separated):
    song("m/a.wav")
    Path("link").symlink_to("m")
    assert run("link", "-o", "m") == 0
    assert run("m", "-o", "link", "--skip-existing") == 0
    assert separated == ["link/a.wav"]


def test_only_stems_of_this_engine_are_left_out(run, separated, monkeypatch):
    monkeypatch.setattr(cli, "open_separator", lambda *_, **__: separator_of((0.5, 0.5), stems=["drums", "bass"]))
    for name in ("a", "a_drums", "a_vocals", "b_drums"):
        song(f"m/{name}.wav")
    assert run("m") == 0
    assert separated == ["m/a.wav", "m/a_vocals.wav", "m/b_drums.wav"]
    np.testing.assert_allclose(soundfile.read("separated/a_drums.wav")[0] * 2, soundfile.read("m/a.wav")[0], atol=1e-5)
