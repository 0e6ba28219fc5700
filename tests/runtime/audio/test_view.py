"""Parts of a file, read as if nothing were between them."""

from __future__ import annotations

import io

import pytest

from runtime.audio.view import View

CONTENT = bytes(range(100))
PIECES = [(5, 10), (20, 21), (40, 40), (50, 70)]
SHOWN = CONTENT[5:10] + CONTENT[20:21] + CONTENT[50:70]


@pytest.fixture
def file(tmp_path):
    (tmp_path / "x").write_bytes(CONTENT)
    with (tmp_path / "x").open("rb", buffering=0) as file:
        yield file


def test_it_shows_its_pieces_only(file):
    view = View(file, PIECES)
    assert view.rest == len(SHOWN) and view.read(1000) == SHOWN
    assert view.rest == 0 and view.read(1) == b""


def test_any_bytes_of_it_can_be_read(file):
    view = View(file, PIECES)
    for start in range(len(SHOWN) + 3):
        for count in (1, 4, 30):
            view.seek(start)
            assert view.read(count) == SHOWN[start : start + count]
    assert view.seek(-3, io.SEEK_END) == len(SHOWN) - 3 and view.read(9) == SHOWN[-3:]


@pytest.mark.parametrize("at", [0, 4, 5, len(SHOWN) - 2])
def test_changed_bytes_are_seen_in_the_place_of_those_of_the_file(file, at):
    changed = SHOWN[:at] + b"ab" + SHOWN[at + 2 :]
    view = View(file, PIECES, {at: b"ab"})
    for start in range(len(SHOWN)):
        view.seek(start)
        assert view.read(3) == changed[start : start + 3]


def test_a_view_of_a_view(file):
    assert View(View(file, PIECES), [(2, 8), (20, 26)]).read(100) == SHOWN[2:8] + SHOWN[20:26]


def test_an_error_is_kept_and_ends_it(file):
    class Broken(io.RawIOBase):
        def seek(self, *_):
            raise OSError(5, "Input/output error")

    view = View(Broken(), PIECES)
    assert view.read(10) == b"" and view.error.errno == 5


def test_nothing_to_show(file):
    assert View(file, []).read(10) == b""
