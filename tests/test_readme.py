"""The README's commands and programs do what it says, and every option that it names exists."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile
from halving import halving_engine
from songs import song
from typer.main import get_command

from runtime.cli import app
from runtime.command import exit_code

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
APPS = dict(re.findall(r'^(bsm-\w+) = "([\w.]+):main"$', (ROOT / "pyproject.toml").read_text(), re.M))
COMMANDS = [shlex.split(line, comments=True) for line in re.findall(r"^\$ (.*)", README, re.M)]
OF_BSM = [words for words in COMMANDS if words[0] in APPS]
OF_BSM_RUN = [words[1:] for words in OF_BSM if words[0] == "bsm-run"]
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
OUTSIDE_OF_BLOCKS = re.sub(r"^```.*?^```", "", README, flags=re.M | re.S)
INLINE = [span.split() for span in re.findall(r"`([^`]+)`", OUTSIDE_OF_BLOCKS)]


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A folder with an engine under each name that the README gives to one."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("vocals", "demo"):
        halving_engine(folder / f"{name}.onnx", sample_rate=8000)
    return folder


@pytest.fixture
def here(engines, tmp_path, monkeypatch):
    """A folder with the engines and a song, of which this is the FLAC file's sound."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(engines, "engines")
    audio = song("song.wav", rate=8000, samples=20000) / 10  # so that no stem clips
    soundfile.write("song.flac", audio, 8000)
    return audio


@pytest.mark.usefixtures("here")
def test_every_bsm_run_command_runs(capsys):
    song("separated/demo_song.wav", rate=8000)
    song("music/a/b.ogg", rate=8000)
    song("talk.wav", rate=8000)
    Path("talk.wav").rename("talk.mp4")  # the content decides, so this needs no ffmpeg
    there = {path for path in Path().rglob("*") if path.is_file()}
    assert len(OF_BSM_RUN) == 6
    for words in OF_BSM_RUN:
        assert exit_code(app, "bsm-run", words) == 0, capsys.readouterr().err
    made = {str(path) for path in Path().rglob("*") if path.is_file() and path not in there}
    both = {f"{name}_{stem}" for name in ("song", "demo_song") for stem in ("vocals", "instrumental")}
    assert made == {
        *(f"separated/{name}.wav" for name in both),
        *(f"separated/song_{stem}.flac" for stem in ("vocals", "instrumental")),
        *("separated/song.png", "separated/talk_vocals.mp3"),
        *(f"stems/a/b_{stem}.wav" for stem in ("vocals", "instrumental")),
    }


@pytest.mark.parametrize("words", OF_BSM, ids=" ".join)
def test_every_command_is_understood(words):
    command = get_command(import_module(APPS[words[0]]).app)
    command.make_context(words[0], words[1:])  # raises for an option or a value that it does not take


def test_all_commands_appear_and_no_others():
    assert {words[0] for words in COMMANDS} == {*APPS, "pip", "python"}


def test_every_option_in_the_text_exists():
    options = {name: options_of(name) for name in APPS}
    checked = 0
    for words in [*INLINE, *COMMANDS]:
        given = {word.split("=")[0] for word in words if re.match(r"-{1,2}[a-z]", word)}
        if words[0] in APPS:
            assert given <= options[words[0]], words
        elif words[0].startswith("-"):
            assert any(given <= each for each in options.values()), words
        elif words[0] == "python" and given:
            # full_size.py hands what it does not know to bsm-bench
            assert given - {"-m"} <= options_of_program(words) | options["bsm-bench"], words
        else:
            assert not given or words[0] == "pip", words
        checked += len(given)
    assert checked > 20


def options_of(command: str) -> set[str]:
    """The options in a command's help."""
    parameters = get_command(import_module(APPS[command]).app).params
    return {"--help", *(name for each in parameters for name in (*each.opts, *each.secondary_opts))}


def options_of_program(words: list[str]) -> set[str]:
    """The options that are parsed beside the program of `python FILE ...` or `python -m PACKAGE ...`."""
    folder = ROOT / words[2].replace(".", "/") if words[1] == "-m" else (ROOT / words[1]).parent
    return {option for path in folder.glob("*.py") for option in re.findall(r'"(--[\w-]+)"', path.read_text())}


def test_every_program_runs(here):
    assert len(PROGRAMS) == 3
    for program in PROGRAMS:
        exec(compile(program, "README.md", "exec"), {})
    vocals, again, instrumental = (
        soundfile.read(name)[0] for name in ("vocals.wav", "vocals.flac", "instrumental.wav")
    )
    step = 2.0**-15  # all three are of 16 bits, as is the song
    np.testing.assert_allclose(again, vocals, atol=1.5 * step)
    np.testing.assert_allclose(vocals + instrumental, here, atol=2.5 * step)


def test_every_link_leads_somewhere():
    for link in re.findall(r"\]\(([^)#]+)", README):
        assert "://" in link or (ROOT / link).exists(), link


def test_every_page_has_a_title_and_is_listed():
    pages = sorted((ROOT / "docs").glob("*.md"))
    assert pages
    for page in pages:
        assert f"](docs/{page.name}): " in README, page
        assert re.match(r"# [A-Z].*\n\n\S", page.read_text()), page
