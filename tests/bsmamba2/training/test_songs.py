"""Songs found on a disk: layouts, stems that are sums, what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from songs import STEMS_RATE as RATE
from songs import write_stems

from bsmamba2.errors import DataError
from bsmamba2.training import songs as songs_module
from bsmamba2.training.songs import MUSDB_VALID, find_salient, find_songs, training_songs

FOUR = ("vocals", "drums", "bass", "other")


def test_musdb_without_valid_is_split_as_the_paper_splits_it(tmp_path: Path) -> None:
    for i in range(86):
        write_stems(tmp_path / "train" / f"song {i}", FOUR, seed=0, seconds=0.01)
    for name in MUSDB_VALID:
        write_stems(tmp_path / "train" / name, FOUR, seed=0, seconds=0.01)
    train, valid = training_songs(tmp_path, FOUR, RATE)
    assert (len(train), len(valid)) == (86, 14)
    assert {song.folder.name for song in valid} == set(MUSDB_VALID)


def test_a_folder_valid_is_taken_as_it_is(songs: Path) -> None:
    train, valid = training_songs(songs, FOUR, RATE)
    assert [song.folder.name for song in train] == ["one", "two"]
    assert [song.folder.name for song in valid] == ["three"]


def test_the_accompaniment_is_the_sum_of_all_but_vocals_and_mixture(tmp_path: Path) -> None:
    write_stems(tmp_path / "a", (*FOUR, "mixture"), seed=1)
    song = find_songs(tmp_path, ["vocals", "accompaniment"], RATE)[0]
    parts = [soundfile.read(tmp_path / "a" / f"{name}.wav", dtype="float32")[0].T for name in FOUR[1:]]
    found = song.stems["accompaniment"].read(500, 1000, 2)
    np.testing.assert_allclose(found, np.sum(parts, axis=0)[:, 500:1500], atol=1e-6)
    mono = song.stems["accompaniment"].read(500, 1000, 1)
    np.testing.assert_allclose(mono, found.mean(axis=0, keepdims=True), atol=1e-6)


def test_files_may_be_written_with_capitals(tmp_path: Path) -> None:
    write_stems(tmp_path / "a", ("Vocals", "DRUMS"), seed=1)
    (song,) = find_songs(tmp_path, ["vocals", "drums"], RATE)
    assert song.stems["drums"].files == (tmp_path / "a" / "DRUMS.wav",)


def test_past_the_end_there_is_silence(tmp_path: Path) -> None:
    write_stems(tmp_path / "a", ("vocals",), seed=1, seconds=1)
    read = find_songs(tmp_path, ["vocals"], RATE)[0].stems["vocals"].read(RATE - 10, 30, 2)
    assert read.shape == (2, 30) and read[:, :10].any() and not read[:, 10:].any()


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: not a folder.*train/<song>"):
        find_songs(tmp_path / "none", FOUR, RATE)
    with pytest.raises(DataError, match="holds no folders of songs.*train/<song>"):
        find_songs(tmp_path, FOUR, RATE)
    write_stems(tmp_path / "a", ("vocals", "bass"), seed=1)
    with pytest.raises(DataError, match="no stem 'drums'.*found: bass, vocals"):
        find_songs(tmp_path, FOUR, RATE)
    with pytest.raises(DataError, match="8000 Hz: expected 44100 Hz"):
        find_songs(tmp_path, ["vocals"], 44100)
    (tmp_path / "a" / "vocals.wav").write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"vocals\.wav: cannot be read"):
        find_songs(tmp_path, ["vocals"], RATE)


def test_salient_windows_are_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stems(tmp_path / "songs" / "a", ("vocals",), seed=1)
    cache = tmp_path / "cache.json"

    def found() -> tuple[int, ...]:
        stems = [song.stems["vocals"] for song in find_songs(tmp_path / "songs", ["vocals"], RATE)]
        return find_salient(stems, RATE, 2, cache)[0].starts

    first = found()
    assert first
    with monkeypatch.context() as patched:
        patched.setattr(songs_module, "salient_starts", lambda *_: pytest.fail("looked again"))
        assert found() == first
    audio, _ = soundfile.read(tmp_path / "songs" / "a" / "vocals.wav", dtype="float32")
    audio[: RATE + RATE // 2] = 0
    soundfile.write(tmp_path / "songs" / "a" / "vocals.wav", audio[:-8], RATE, subtype="FLOAT")
    assert set(found()) < set(first)
    cache.write_text("damaged")
    assert found()


def test_a_silent_stem_is_never_drawn(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a" / "vocals.wav", np.zeros((RATE * 2, 2)), RATE)
    stems = [song.stems["vocals"] for song in find_songs(tmp_path, ["vocals"], RATE)]
    assert find_salient(stems, RATE, 2) == []
