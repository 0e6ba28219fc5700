"""Which songs files and folders mean, and that no two of them share a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import OptionError
from runtime.songs.inputs import find_songs
from runtime.songs.names import name_songs

OUT = Path("separated")


@pytest.fixture
def tree(monkeypatch, tmp_path):
    """Makes empty files in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def make(*paths):
        for path in map(Path, paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


def names(*given, recursive=False):
    found = find_songs(map(Path, given), recursive, OUT)
    return {str(song.path): str(song.name) for song in name_songs(found.songs, OUT, [])}


def test_a_folder_gives_its_songs_in_order(tree):
    tree("m/b.MP3", "m/a.wav", "m/cover.jpg", "m/._a.wav", "m/sub/c.flac", "m/video.mkv")
    assert list(names("m").items()) == [("m/a.wav", "a"), ("m/b.MP3", "b"), ("m/video.mkv", "video")]


def test_recursive_keeps_the_tree_and_leaves_out_the_stems(tree):
    tree("a.wav", "x/y/b.flac", "separated/a_vocals.wav", ".hidden/c.wav", "x/separated/d.wav")
    assert names(".", recursive=True) == {"a.wav": "a", "x/separated/d.wav": "x/separated/d", "x/y/b.flac": "x/y/b"}


def test_links_to_folders_are_not_followed(tree):
    tree("m/a.wav")
    Path("m/loop").symlink_to(Path("m").resolve())
    assert names("m", recursive=True) == {"m/a.wav": "a"}


def test_files_given_by_name_may_be_called_anything_or_be_missing(tree):
    tree("noise.xyz")
    assert names("noise.xyz", "none.wav", "x" * 300) == {"noise.xyz": "noise", "none.wav": "none", "x" * 300: "x" * 300}


def test_a_song_given_twice_counts_once(tree):
    tree("m/a.wav")
    Path("link.wav").symlink_to("m/a.wav")
    assert names("m/a.wav", "m", "./m/../m/a.wav", "link.wav") == {"m/a.wav": "a"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a/x.wav", "b/x.wav", "a/y.wav"], {"a/x.wav": "a/x", "b/x.wav": "b/x", "a/y.wav": "y"}),
        (["a/c/x.wav", "b/c/x.wav"], {"a/c/x.wav": "a/c/x", "b/c/x.wav": "b/c/x"}),
        (["x.wav", "a/x.wav"], {"x.wav": "x", "a/x.wav": "a/x"}),
        (["x.wav", "x.mp3", "x.y.wav"], {"x.wav": "x.wav", "x.mp3": "x.mp3", "x.y.wav": "x.y"}),
        (["a/x.wav", "a/x.mp3", "b/X.wav"], {"a/x.wav": "a/x.wav", "a/x.mp3": "a/x.mp3", "b/X.wav": "b/X"}),
        (
            ["a/caf\u00e9.wav", "b/cafe\u0301.wav"],
            {"a/caf\u00e9.wav": "a/caf\u00e9", "b/cafe\u0301.wav": "b/cafe\u0301"},
        ),
    ],
)
def test_songs_of_one_name_keep_what_they_differ_in(tree, given, expected):
    tree(*given)
    assert names(*given) == expected


def test_trees_of_the_same_shape_stay_apart(tree):
    tree("m/1/x.wav", "n/1/x.wav")
    assert names("m", "n", recursive=True) == {"m/1/x.wav": "m/1/x", "n/1/x.wav": "n/1/x"}


def test_names_that_cannot_be_told_apart_are_refused(tree):
    tree("x.wav", "x.mp3", "sub/x.wav.flac", "sub/x.mp3.flac", "sub/y.wav")
    with pytest.raises(OptionError, match=r"x.wav and .*x.wav.flac: .* both be called x.wav_...: .* two runs"):
        names("x.wav", "x.mp3", "sub/x.wav.flac")


def test_folders_that_cannot_be_read_are_told_and_passed_over(tree, locked):
    tree("m/a.wav", "m/locked/b.wav", "m/z/c.wav")
    locked("m/locked")
    found = find_songs([Path("m"), Path("m/z"), Path("m")], True, OUT)
    assert [str(song.path) for song in found.songs] == ["m/a.wav", "m/z/c.wav"]
    assert found.unreadable == ["m/locked: cannot be read (Permission denied)"]


def test_a_folder_of_which_nothing_can_be_read_is_refused(tree, locked):
    tree("m/x/b.wav")
    locked("m/x")
    with pytest.raises(OptionError, match=r"^m/x: cannot be read \(Permission denied\)$"):
        names("m", recursive=True)


def test_folders_without_songs_are_refused(tree):
    tree("m/cover.jpg", "m/sub/a.wav")
    with pytest.raises(OptionError, match="^m: no songs found .*: -r searches its subfolders$"):
        names("m")
    Path("m/sub/a.wav").unlink()
    with pytest.raises(OptionError, match="^m: no songs found [^:]*$"):
        names("m", recursive=True)
