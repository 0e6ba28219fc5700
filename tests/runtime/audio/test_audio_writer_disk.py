"""Stems on the disk: all files or none, and nothing lost that was there before."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.audio import Form, SongWriter, StemWriters
from runtime.audio import part as part_module
from runtime.errors import AudioError, OptionError


@pytest.mark.parametrize("clip", ["rescale", "clamp"])
def test_an_error_in_the_middle_leaves_what_was_there(tmp_path, clip):
    (tmp_path / "a.wav").write_bytes(b"earlier")
    targets = {"a": tmp_path / "a.wav", "b": tmp_path / "b.wav"}
    block = np.zeros((1, 100000), np.float32)
    with pytest.raises(KeyboardInterrupt), StemWriters(targets, 8000, 1, Form("WAV", "PCM_16"), clip) as writers:
        writers.write({"a": block, "b": block})
        raise KeyboardInterrupt
    assert (tmp_path / "a.wav").read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("links", [True, False])
def test_all_stems_take_their_names_or_none_does(tmp_path, monkeypatch, error, links):
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes(b"earlier " + name.encode())
    replace = Path.replace

    def failing(self, target):
        if self.suffix == ".part" and target.name == "b.wav":
            raise error
        return replace(self, target)

    def no_links(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "replace", failing)
    if not links:
        monkeypatch.setattr(part_module.os, "link", no_links)
    targets = {name: tmp_path / f"{name}.wav" for name in ("new", "a", "b", "c")}
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else AudioError
    with pytest.raises(expected), StemWriters(targets, 8000, 1, Form("WAV", "FLOAT"), samples=9) as writers:
        writers.write({name: np.zeros((1, 9), np.float32) for name in targets})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.wav": b"earlier a",
        "b.wav": b"earlier b",
    }
    monkeypatch.setattr(Path, "replace", replace)
    with StemWriters(targets, 8000, 1, Form("WAV", "FLOAT"), samples=9) as writers:
        writers.write({name: np.zeros((1, 9), np.float32) for name in targets})
    assert {soundfile.info(path).frames for path in tmp_path.iterdir()} == {9}
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("form", [Form("WAV", "PCM_16"), Form("FLAC", "PCM_24"), Form("OGG", "VORBIS")])
@pytest.mark.parametrize("clip", ["rescale", "none"])
@pytest.mark.parametrize("room", [0, 60, 5000, 20000])
def test_a_disk_that_takes_no_more_is_one_line(tmp_path, form, clip, room):
    """By the limit on a file's size: as on a full disk, a write fails somewhere between the header and the end."""
    target = tmp_path / "x"
    target.write_bytes(b"earlier")
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 60000)).astype(np.float32)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with (
            pytest.raises(AudioError, match=r"x: cannot be written \(File too large\)") as caught,
            StemWriters({"x": target}, 44100, 2, form, clip, samples=60000) as writers,
        ):
            writers.write({"x": audio})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [target]


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.needs("mount")
@pytest.mark.parametrize("form", [Form("WAV", "PCM_16"), Form("FLAC", "PCM_24"), Form("OGG", "VORBIS")])
@pytest.mark.parametrize("clip", ["rescale", "none"])
def test_a_full_disk_is_one_line_and_earlier_stems_stay(small_disk, form, clip):
    targets = {name: small_disk / name for name in ("vocals", "instrumental")}
    earlier = bytes(range(256)) * 64
    for target in targets.values():
        target.write_bytes(earlier)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 600000)).astype(np.float32)
    with (
        pytest.raises(AudioError, match=r"vocals|instrumental: cannot be written \(No space left on device\)"),
        StemWriters(targets, 44100, 2, form, clip, samples=600000) as writers,
    ):
        for first in range(0, 600000, 10000):
            writers.write(dict.fromkeys(targets, noise[:, first : first + 10000]))
    assert sorted(path.name for path in small_disk.iterdir()) == ["instrumental", "vocals"]
    assert all(target.read_bytes() == earlier for target in targets.values())


KILLED = """
import signal
import sys
from pathlib import Path
import numpy as np
from runtime.audio import Form, StemWriters
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
folder = Path(sys.argv[1])
targets = {"vocals": folder / "vocals.wav", "instrumental": folder / "instrumental.wav"}
block = np.full((2, 10000), 0.5, np.float32)
with StemWriters(targets, 44100, 2, Form("WAV", "PCM_16"), sys.argv[2], samples=10**9) as writers:
    for number in range(10**9):
        writers.write({stem: block for stem in targets})
        if number == 20:
            print("writing", flush=True)
"""


@pytest.mark.parametrize("clip", ["rescale", "clamp"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_separation_leaves_no_partial_file_under_a_final_name(tmp_path, clip, end):
    (tmp_path / "vocals.wav").write_bytes(b"earlier")
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path, clip], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"writing\n"
        time.sleep(0.05)
        child.send_signal(end)
        child.wait(60)
    finally:
        child.kill()
        child.communicate()
    assert (tmp_path / "vocals.wav").read_bytes() == b"earlier"
    assert not (tmp_path / "instrumental.wav").exists()
    left = [path.name for path in tmp_path.iterdir() if path.name != "vocals.wav"]
    assert all(name.startswith(".bsm-") for name in left)
    if end == signal.SIGINT:
        assert left == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_get_the_permissions_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        with SongWriter(tmp_path / "x.wav", 8000, 1, Form("WAV", "FLOAT")) as out:
            out.write(np.zeros((1, 9), np.float32))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.wav").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed_and_stays(tmp_path, exists):
    (tmp_path / "there").mkdir()
    if exists:
        (tmp_path / "there" / "y.wav").write_bytes(b"earlier")
    (tmp_path / "x.wav").symlink_to(tmp_path / "there" / "y.wav")
    with SongWriter(tmp_path / "x.wav", 8000, 1, Form("WAV", "FLOAT")) as out:
        out.write(np.zeros((1, 9), np.float32))
    assert (tmp_path / "x.wav").is_symlink()
    assert soundfile.info(tmp_path / "there" / "y.wav").frames == 9


def test_what_cannot_be_a_file_is_found_before_the_work(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, message in [
        ("folder", "is a folder: choose another name"),
        ("loop", "cannot be written .Too many levels of symbolic links"),
        ("pipe", "is not a file: choose another name"),
        ("x" * 300, "cannot be written .File name too long"),
        ("none/x.wav", "cannot be written .No such file or directory"),
        ("nul\0", "cannot be written .*null"),
    ]:
        targets = {"first": tmp_path / "first.wav", "second": tmp_path / name}
        with pytest.raises(AudioError, match=message):
            StemWriters(targets, 8000, 1, Form("WAV", "FLOAT"))
        assert not list(tmp_path.glob(".bsm-*")) and not (tmp_path / "first.wav").exists()
    with pytest.raises(OptionError, match="--clip soft: must be rescale, clamp or none"):
        StemWriters({"x": tmp_path / "x.wav"}, 8000, 1, Form("WAV", "FLOAT"), "soft")
