"""`bsm-run` on files: what it writes, what it says, and what it refuses before it writes anything."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import separator_of
from songs import song

from runtime import cli
from runtime.command import exit_code
from runtime.songs import batch, piped


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
    out = capsys.readouterr()
    assert "my song.wav: " in out.out and "separated/my song_instrumental.wav" in out.out and "% of" in out.out
    assert not out.err  # no progress where it is no terminal


@pytest.mark.parametrize(
    ("args", "name", "form"),
    [
        ([], "a_instrumental.flac", ("FLAC", "PCM_16")),
        (["--subtype", "pcm_24"], "a_instrumental.flac", ("FLAC", "PCM_24")),
        (["--format", "WAV"], "a_instrumental.wav", ("WAV", "PCM_16")),
        (["--format", "ogg", "--subtype", "vorbis"], "a_instrumental.ogg", ("OGG", "VORBIS")),
    ],
)
def test_options_choose_stems_folder_and_form(run, tmp_path, args, name, form):
    song("a.flac")
    assert run("a.flac", "-o", "out/deep", "--stems", "instrumental, Instrumental", *args) == 0
    assert [path.name for path in (tmp_path / "out" / "deep").iterdir()] == [name]
    found = soundfile.info(tmp_path / "out" / "deep" / name)
    assert (found.format, found.subtype) == form


def test_stems_too_loud_for_integers_are_turned_down_together(run, capsys, tmp_path):
    audio = np.random.default_rng(0).uniform(-2.5, 2.5, (9000, 2))
    soundfile.write("loud.wav", audio, 44100, subtype="FLOAT")
    assert run("loud.wav", "--subtype", "PCM_16") == 0
    gain = float(re.search(r"turned down to (\S+) of their level", capsys.readouterr().out)[1])
    assert gain == pytest.approx(0.8, rel=0.01)
    stems = [soundfile.read(path)[0] for path in (tmp_path / "separated").iterdir()]
    np.testing.assert_allclose(stems[0] + stems[1], gain * audio, atol=2e-3)


def test_clipped_samples_are_counted(run, capsys):
    soundfile.write("loud.wav", np.full((9000, 1), 2.5), 44100, subtype="FLOAT")
    assert run("loud.wav", "--subtype", "PCM_16", "--clip", "none", "--stems", "vocals", "--overlap", "0") == 0
    assert "loud_vocals.wav  (9000 samples clipped; --clip rescale or" in capsys.readouterr().out
    assert soundfile.read("separated/loud_vocals.wav")[0].max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("options", [[], ["--channels", "refuse"], ["--channels", "ask"]])  # its old name
def test_more_than_two_channels_are_refused_unless_told_otherwise(run, capsys, options):
    audio = song("surround.wav", channels=6)
    assert run("surround.wav", *options) == 2
    assert "has 6 channels, expected 1 or 2: --channels pairs" in capsys.readouterr().err
    assert not Path("separated").exists()
    assert run("surround.wav", "--channels", "pairs") == 0
    np.testing.assert_allclose(soundfile.read("separated/surround_vocals.wav")[0], 0.5 * audio, atol=1e-5)


def test_existing_stems_are_kept_unless_told_otherwise(run, capsys, tmp_path):
    song("a.wav")
    assert run("a.wav") == 0
    before = (tmp_path / "separated" / "a_vocals.wav").read_bytes()
    song("a.wav", samples=500)
    assert run("a.wav") == 2
    assert re.search(
        r"a_vocals.wav: already exists: .* -o, .* --overwrite or --skip-existing$", capsys.readouterr().err
    )
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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["none.wav"], "none.wav: does not exist"),
        (["a.wav", "--stems", "drums"], "--stems drums: .* vocals, instrumental"),
        (["a.wav", "--overlap", "1"], "--overlap 1.0: must be between 0 and 0.9"),
        (["a.wav", "--procedure", "fast"], "Invalid value for '--procedure': 'fast' is not one of 'default', 'msst'"),
        (
            ["a.wav", "--procedure", "msst"],
            "--procedure msst: this engine does not say how MSST cuts songs for it: export it again with the "
            r"checkpoint's yaml \(bsm-export --config\)$",
        ),
        (["a.wav", "--shifts", "0"], "--shifts 0: must be between 1 and 16"),
        (["a.wav", "--batch", "0"], "--batch 0: must be between 1 and 8"),
        (["a.wav", "--subtype", "MP3"], "'MP3' is not one of"),
        (["a.wav", "--format", "wav", "--subtype", "vorbis"], "subtype VORBIS: WAV files hold PCM_U8, PCM_16"),
        (["a.wav", "--subtype", "vorbis"], "subtype VORBIS: WAV files hold"),
        (
            ["a.wav", "--format", "aiff"],
            r"Invalid value for '--format': 'aiff' is not one of 'wav', 'flac', 'ogg', 'mp3' \(see bsm-run --help\)",
        ),
        (["a.wav", "--format", "mp3"], "a.wav: MP3 files cannot have 5000 Hz"),
        (["a.wav", "--overwrite", "--skip-existing"], "--skip-existing and --overwrite exclude each other"),
        (["a.wav", "--manifest", "a.wav"], "--manifest a.wav: .* not a file of JSON lines"),
        (["a.wav", "--manifest", "none/x.jsonl"], "--manifest none/x.jsonl: cannot be written"),
        (["a.wav", "--info"], "--info takes no songs: leave out a.wav"),
        (["--info"], "x.onnx: does not exist: expected NAME.onnx or NAME.plan"),
        (["sub"], "sub: no songs found"),
        (["a.wav", "-o", "a.wav"], r"a.wav: the folder cannot be created \(File exists\): choose another with -o"),
        (["a.wav", "-o", "a.wav/deep"], "a.wav/deep: the folder cannot be created"),
        (["a.wav", "-o", ""], "an argument is empty: check that shell variables are set"),
        ([""], "an argument is empty"),
        ([], "no songs given: give sound files or folders after the engine"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(run, capsys, tmp_path, args, message):
    (tmp_path / "sub").mkdir()
    song("a.wav", rate=5000)
    before = (tmp_path / "a.wav").read_bytes()
    assert run(*args) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1 and error.startswith("bsm-run: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "sub"]
    assert (tmp_path / "a.wav").read_bytes() == before


def test_songs_are_cut_as_msst_does_it(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    audio = song("a.wav", samples=15000)

    def opened(engine, *, threads, device, precision_hint, **options):
        return separator_of(msst=(4, 1), **options)

    monkeypatch.setattr(cli, "open_separator", opened)
    args = ["x.onnx", "a.wav", "--procedure", "msst"]
    assert exit_code(cli.app, "bsm-run", [*args, "--overlap", "0.25"]) == 2
    assert capsys.readouterr().err == (
        "bsm-run: --overlap: cannot be used with --procedure msst: the engine's own num_overlap (4) applies\n"
    )
    assert not Path("separated").exists()
    assert exit_code(cli.app, "bsm-run", args) == 0
    np.testing.assert_allclose(soundfile.read("separated/a_vocals.wav")[0], 0.5 * audio, atol=1e-5)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "bsm-run: stopped\n"),
        (MemoryError(), 2, "bsm-run: out of memory: use a smaller batch, .*\n"),
        (ZeroDivisionError("oops"), 1, "bsm-run: internal error.* report it: ZeroDivisionError: oops .*--debug.*\n"),
    ],
)
def test_interruptions_and_faults(run, capsys, monkeypatch, error, code, message):
    song("a.wav")

    def broken(*args):
        raise error

    monkeypatch.setattr(batch, "separate_file", broken)
    assert run("a.wav") == code
    assert re.fullmatch(message, capsys.readouterr().err)
    if code != 130:
        run("a.wav", "--debug")
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["a.wav", "x.onnx"], ["a.wav"], ["a.wav", "--info"]])
def test_the_engine_comes_first(tmp_path, monkeypatch, capsys, args):
    monkeypatch.chdir(tmp_path)
    song("a.wav")
    assert exit_code(cli.app, "bsm-run", args) == 2
    assert capsys.readouterr().err.startswith("bsm-run: a.wav: named like a song: give the engine first")


def test_a_link_to_nowhere_counts_as_existing(run, capsys, tmp_path):
    song("a.wav")
    (tmp_path / "separated").mkdir()
    (tmp_path / "separated" / "a_vocals.wav").symlink_to(tmp_path / "nowhere")
    assert run("a.wav") == 2
    assert "a_vocals.wav: already exists" in capsys.readouterr().err


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


def test_a_pipe_that_nobody_writes_into_is_not_a_song(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(piped, "LONGEST_WAIT", 0.1)
    os.mkfifo(tmp_path / "pipe.wav")
    assert run("pipe.wav") == 2
    assert "pipe.wav: is not a file" in capsys.readouterr().err
