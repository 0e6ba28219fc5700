"""`bsm-run --list`: what its lines may be."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from songs import files, song

from runtime.errors import OptionError
from runtime.songs.inputs import NamedSong
from runtime.songs.listed import read_list


@pytest.fixture
def listed(tmp_path):
    def read(content: bytes):
        (tmp_path / "list").write_bytes(content)
        return read_list(tmp_path / "list")

    return read


def test_paths_and_json_lines_may_be_mixed(listed):
    found = listed(
        b'a.wav\r\n\n  b c.wav\n{"song": "/x/d.wav", "name": "e/f", "year": 1999}\n{"song": "g.wav"}\ncaf\xe9.wav'
    )
    named = NamedSong(Path("/x/d.wav"), Path("e/f"), by_name=True, settled=True)
    assert found == [Path("a.wav"), Path("  b c.wav"), named, Path("g.wav"), Path("caf\udce9.wav")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"song": "a.wav"', r"line 2: is no JSON .*: expected \{"),
        (b"[" * 9 + b'{"song": 1}', None),  # a path
        (b'{"song": 1}', "line 2: has no song"),
        (b'{"name": "x"}', "line 2: has no song"),
        (b"{}", "line 2: has no song"),
        (b'{"song": "a\\u0000.wav"}', "line 2: has no song"),
        (b"a\0.wav", "line 2: holds a NUL"),
        (b"-", "line 2: standard input is no song of a list"),
        (b"x" * 70000, "line 2: longer than 65536 bytes"),
        (b'{"song": "a.wav", "name": 3}', "line 2: name 3: expected text"),
        (b'{"song": "a.wav", "name": ""}', "line 2: name '': expected text"),
        (b'{"song": "a.wav", "name": "."}', "line 2: name '.': expected text"),
        (b'{"song": "a.wav", "name": "/etc/passwd"}', "line 2: .* must stay in the output folder"),
        (b'{"song": "a.wav", "name": "../x"}', "line 2: .* must stay in the output folder"),
        (b'{"song": "a.wav", "name": "a/../../x"}', "line 2: .* must stay in the output folder"),
        (b'{"song": "a.wav", "name": "C:x"}', "line 2: .* must stay in the output folder"),
        (b'{"song": "a.wav", "name": "..\\\\x"}', "line 2: .* must stay in the output folder"),
        (b'{"song": "a.wav", "name": "a\\u0000"}', "line 2: name .*: expected text"),
        (b'{"song": "a.wav", "name": "FIRST"}', "line 2: the name FIRST is that of line 1 already"),
    ],
)
def test_a_bad_line_is_one_error_with_its_number(listed, line, message):
    content = b'{"song": "first.wav", "name": "first"}\n' + line
    if message is None:
        assert len(listed(content)) == 2
        return
    with pytest.raises(OptionError, match=message) as raised:
        listed(content)
    assert "\n" not in str(raised.value)


def test_an_empty_list_and_none_are_errors(listed, tmp_path):
    with pytest.raises(OptionError, match="no songs in it"):
        listed(b"\n \n")
    with pytest.raises(OptionError, match="none: cannot be read"):
        read_list(tmp_path / "none")


def test_songs_of_a_list_are_separated_under_their_names(run, monkeypatch, capsys):
    for name in ("a.wav", "m/a.wav", "m/b.wav"):
        song(name)
    lines = b'a.wav\n{"song": "m/a.wav", "name": "x/first"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert run("m/b.wav", "--list", "-", "--stems", "vocals") == 0
    assert files() == ["a_vocals.wav", "b_vocals.wav", "x/first_vocals.wav"]


def test_a_name_that_was_given_is_never_changed(run, capsys):
    for name in ("m/a.wav", "n/a.wav"):
        song(name)
    Path("list").write_text('n/a.wav\n{"song": "m/a.wav", "name": "a"}\n')
    assert run("--list", "list", "--stems", "vocals") == 0
    assert files() == ["a_vocals.wav", "n/a_vocals.wav"]
    Path("list").write_text('{"song": "m/a.wav", "name": "a"}\n{"song": "m/../m/a.wav", "name": "b"}\n')
    assert run("--list", "list", "--stems", "vocals") == 2
    assert "m/a.wav: is listed with two names, a and b" in capsys.readouterr().err
