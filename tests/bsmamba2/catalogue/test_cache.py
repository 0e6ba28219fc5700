"""The cache: files of one's own, no network, full disks, two processes at once, interruptions."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import asdict
from pathlib import Path

import pytest
from bad_server import CONTENT, HALF

from bsmamba2.catalogue import download
from bsmamba2.catalogue.cache import cache_folder
from bsmamba2.catalogue.download import fetch
from bsmamba2.errors import DownloadError

ROOT = Path(__file__).parents[3]


def refused(entry, folder, **options):
    with pytest.raises(DownloadError) as caught:
        fetch(entry, folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_there_is_not_downloaded_again(server, tmp_path):
    told = []
    path = fetch(server.entry("good"), tmp_path)
    assert fetch(server.entry("good"), tmp_path, tell=told.append) == path
    assert fetch(server.entry("good"), tmp_path, offline=True) == path
    assert len(server.asked) == 1 and not told


def test_a_file_of_ones_own_is_used(server, tmp_path):
    (tmp_path / "some-model.ckpt").write_bytes(CONTENT)
    assert fetch(server.entry(), tmp_path) == fetch(server.entry("good"), tmp_path) == tmp_path / "some-model.ckpt"
    assert not server.asked


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"short", r"some-model.ckpt: has 5 bytes, some-model has 307200: remove or rename it"),
        (bytes(len(CONTENT)), r"some-model.ckpt: is not some-model (another sha256 than the catalogue's): remove"),
    ],
)
def test_a_wrong_file_of_ones_own_is_refused_and_stays(server, tmp_path, content, message):
    path = tmp_path / "some-model.ckpt"
    path.write_bytes(content)
    assert message in refused(server.entry("good"), tmp_path)
    assert path.read_bytes() == content and not server.asked


def test_a_folder_or_a_dangling_link_in_its_place_is_refused(server, tmp_path):
    path = tmp_path / "some-model.ckpt"
    path.symlink_to(tmp_path / "nowhere")
    assert "some-model.ckpt: is not a file" in refused(server.entry("good"), tmp_path)
    path.unlink()
    path.mkdir()
    assert "some-model.ckpt: is not a file" in refused(server.entry("good"), tmp_path)


def test_offline_asks_nobody_and_says_what_to_do(server, tmp_path):
    line = refused(server.entry("good"), tmp_path / "none", offline=True)
    assert "--offline downloads nothing: download http://127.0.0.1:" in line and "some-model.ckpt" in line
    assert not server.asked and not (tmp_path / "none").exists()


def test_a_file_that_is_nowhere_public_says_where_to_put_it(server, tmp_path):
    line = refused(server.entry(note="local file only"), tmp_path)
    assert "has no address to download from (local file only)" in line
    assert line.endswith(f"put your own file of 307200 bytes at {tmp_path / 'some-model.ckpt'}")


def test_the_licence_is_told_once_before_the_first_byte(server, tmp_path):
    told = []

    def tell(text):
        told.append((text, len(server.asked)))

    fetch(server.entry("cut"), tmp_path, tell=tell)
    fetch(server.entry("cut"), tmp_path, tell=tell)
    assert [asked for text, asked in told if "licence: CC-BY-NC-SA-4.0" in text] == [0]
    assert "from 127.0.0.1" in told[0][0]


def test_a_disk_without_room_is_found_before_the_download(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage(10**6, 0, len(CONTENT) - 1))
    line = refused(server.entry("good"), tmp_path)
    assert f"{tmp_path}: the disk has 0 MB left" in line and "BSM_CACHE" in line and not server.asked
    (tmp_path / "some-model.ckpt.part").write_bytes(CONTENT[:1])  # what is there takes no more room
    assert fetch(server.entry("good"), tmp_path).read_bytes() == CONTENT


def test_a_disk_that_fills_up_keeps_what_has_come(server, tmp_path, monkeypatch):
    def progress(done, total):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    line = refused(server.entry("good", "good"), tmp_path, progress=progress)
    assert "some-model.ckpt.part: cannot be written (No space left on device): make room for 307200 bytes" in line
    assert len(server.asked) == 1  # the other address would not help
    assert (tmp_path / "some-model.ckpt.part").stat().st_size > 0
    assert fetch(server.entry("good"), tmp_path).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    line = refused(server.entry("good"), tmp_path / "file" / "folder")
    assert "cannot be written (Not a directory): set BSM_CACHE" in line and "by hand" in line


def test_ctrl_c_keeps_the_part_and_releases_the_lock(server, tmp_path):
    def stop(done, total):
        if done >= HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.entry("good"), tmp_path, progress=stop)
    have = (tmp_path / "some-model.ckpt.part").stat().st_size
    assert have >= HALF
    if have < len(CONTENT):
        fetch(server.entry("good"), tmp_path)
        assert server.asked[-1] == ("/good/x", f"bytes={have}-")


@pytest.mark.seconds
def test_two_processes_download_once(server, tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from bsmamba2.catalogue import Entry\n"
        "from bsmamba2.catalogue.download import fetch\n"
        f"print(fetch(Entry(**{ {**asdict(server.entry('lazy')), 'known': None}!r}), Path(sys.argv[1]), tell=print))\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=30)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert server.asked == [("/lazy/x", None)]
    assert (tmp_path / "some-model.ckpt").read_bytes() == CONTENT
    assert all(text.splitlines()[-1] == str(tmp_path / "some-model.ckpt") for text in said)
    assert sum("licence" in text for text in said) == 1


def test_one_that_waits_says_so(server, tmp_path, monkeypatch):
    told, waits = [], []

    class Lock(download.FileLock):
        def acquire(self, timeout=None, **options):
            waits.append(timeout)
            if timeout == 0:
                raise download.Timeout(str(tmp_path))
            return super().acquire(timeout, **options)

    monkeypatch.setattr(download, "FileLock", Lock)
    fetch(server.entry("good"), tmp_path, tell=told.append)
    assert waits == [0, None] and "another process downloads it: waiting" in told[0]


def test_the_folder_is_the_users_cache_or_bsm_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BSM_CACHE", "~/models")
    assert cache_folder() == Path.home() / "models"
    monkeypatch.setenv("BSM_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parts[-1] == "checkpoints" and "bsmamba2" in cache_folder().parts
