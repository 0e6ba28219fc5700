"""Files under temporary names take their final ones: whole, all or none, and never from another process."""

from __future__ import annotations

import os

import pytest

from runtime.audio import part as part_module
from runtime.audio.part import Part, put_in_place
from runtime.errors import AudioError


@pytest.fixture(params=["hard links", "no hard links"])
def any_file_system(request, monkeypatch):
    if request.param == "no hard links":

        def no_links(*args):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(part_module.os, "link", no_links)


def finished(*paths):
    parts = []
    for path in paths:
        parts.append(Part(path))
        parts[-1].write(b"own")
        parts[-1].finish()
    return parts


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put_and_discard(parts, existing):
    try:
        return [part.path.name for part in put_in_place(parts, existing)]
    finally:
        for part in parts:
            part.discard()


@pytest.mark.parametrize("existing", ["refuse", "skip", "replace"])
def test_free_names_are_taken(tmp_path, any_file_system, existing):
    assert put_and_discard(finished(tmp_path / "b", tmp_path / "a"), existing)
    assert contents(tmp_path) == {"a": b"own", "b": b"own"}


@pytest.mark.parametrize("taken", ["a", "b", "c"])
@pytest.mark.parametrize("link", [False, True])
def test_a_name_that_another_process_took_meanwhile_is_refused_and_no_other_is_taken(
    tmp_path, any_file_system, taken, link
):
    parts = finished(*(tmp_path / name for name in "abc"))
    if link:  # to nowhere
        (tmp_path / taken).symlink_to(tmp_path / "none")
    else:
        (tmp_path / taken).write_bytes(b"theirs")
    with pytest.raises(AudioError, match=rf"{taken}: already exists, .*: .*--overwrite or --skip-existing"):
        put_and_discard(parts, "refuse")
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert link or contents(tmp_path) == {taken: b"theirs"}


def test_skipping_leaves_out_only_what_is_taken(tmp_path, any_file_system):
    parts = finished(*(tmp_path / name for name in "abc"))
    (tmp_path / "b").write_bytes(b"theirs")
    assert put_and_discard(parts, "skip") == ["a", "c"]
    assert contents(tmp_path) == {"a": b"own", "b": b"theirs", "c": b"own"}


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_an_error_while_names_are_taken_gives_them_back(tmp_path, any_file_system, monkeypatch, error):
    take = part_module._take_free_name

    def failing(part):
        take(part)
        if part.path.name == "b":
            raise error

    monkeypatch.setattr(part_module, "_take_free_name", failing)
    with pytest.raises(AudioError if isinstance(error, OSError) else KeyboardInterrupt):
        put_and_discard(finished(*(tmp_path / name for name in "abc")), "refuse")
    assert contents(tmp_path) == {}


def test_what_another_process_replaced_meanwhile_is_not_taken_away(tmp_path, any_file_system, monkeypatch):
    take = part_module._take_free_name

    def replaced(part):
        take(part)
        if part.path.name == "a":  # by a process with --overwrite; then the third name is lost to it, too
            (tmp_path / "new").write_bytes(b"theirs")
            (tmp_path / "new").replace(tmp_path / "a")
            (tmp_path / "c").write_bytes(b"theirs")

    monkeypatch.setattr(part_module, "_take_free_name", replaced)
    with pytest.raises(AudioError, match="c: already exists"):
        put_and_discard(finished(*(tmp_path / name for name in "abc")), "refuse")
    assert contents(tmp_path) == {"a": b"theirs", "c": b"theirs"}


def test_a_name_that_cannot_be_taken_is_one_line(tmp_path, monkeypatch):
    def no(*args):
        raise OSError(30, "Read-only file system")

    parts = finished(tmp_path / "a")
    monkeypatch.setattr(part_module.os, "link", no)
    monkeypatch.setattr(part_module.os, "open", no)
    with pytest.raises(AudioError, match=r"a: cannot be written \(Read-only file system\)$"):
        put_and_discard(parts, "refuse")
    assert contents(tmp_path) == {}


def test_names_are_taken_in_one_order_so_that_one_of_two_processes_gets_them_all(tmp_path, monkeypatch):
    """Were each to begin with another name, both would fail at their second one."""
    taken = []
    link = os.link
    monkeypatch.setattr(part_module.os, "link", lambda old, new: (taken.append(new.name), link(old, new)))
    put_and_discard(finished(*(tmp_path / name for name in "bac")), "refuse")
    assert taken == ["a", "b", "c"]
