"""The README's section on running songs: its commands and its Python do what they say."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from songs import song
from tiny import tiny_checkpoint

from export.engine import export_engine, only
from runtime.cli import app
from runtime.command import exit_code

README = (Path(__file__).parents[1] / "README.md").read_text()
RUN = re.search(r"^## Run: .*?(?=^## )", README, re.M | re.S)[0]
COMMANDS = [shlex.split(line, comments=True) for line in re.findall(r"^\$ bsm-run (.*)", RUN, re.M)]
PROGRAMS = re.findall(r"^```python\n(.*?)^```", RUN, re.M | re.S)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """The folder of an engine named as the README's."""
    folder = tmp_path_factory.mktemp("readme")
    export_engine(tiny_checkpoint(folder, kind="transformer"), folder / "vocals", frames=only(101))
    return folder


@pytest.fixture(autouse=True)
def here(engines, tmp_path, monkeypatch):
    """A folder with the engine and two songs, of which this is the FLAC file's."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(engines, "engines")
    audio = song("song.wav", rate=8000, samples=20000) / 10  # so that no stem clips
    soundfile.write("song.flac", audio, 8000)
    return audio


def test_the_commands(capsys):
    song("music/a/b.ogg", rate=8000)
    song("talk.wav", rate=8000)
    Path("talk.wav").rename("talk.mp4")  # the content decides, so this needs no ffmpeg
    assert len(COMMANDS) == 5
    for words in COMMANDS:
        assert exit_code(app, "bsm-run", words) == 0, capsys.readouterr().err
    made = {str(path) for folder in ("separated", "stems") for path in Path(folder).rglob("*") if path.is_file()}
    both = {f"song_{stem}.{suffix}" for stem in ("vocals", "instrumental") for suffix in ("flac", "wav")}
    assert made == {
        *(f"separated/{name}" for name in (*both, "song.png", "talk_vocals.mp3")),
        "stems/a/b_vocals.wav",
        "stems/a/b_instrumental.wav",
    }


def test_the_programs(here):
    assert len(PROGRAMS) == 3
    for program in PROGRAMS:
        exec(compile(program, "README.md", "exec"), {})
    vocals, again, instrumental = (
        soundfile.read(name)[0] for name in ("vocals.wav", "vocals.flac", "instrumental.wav")
    )
    step = 2.0**-15  # all three are of 16 bits, as is the song
    np.testing.assert_allclose(again, vocals, atol=1.5 * step)
    np.testing.assert_allclose(vocals + instrumental, here, atol=2.5 * step)
