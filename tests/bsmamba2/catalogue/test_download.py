"""Downloads: resumed, checked, from one address after the other; a server that misbehaves."""

from __future__ import annotations

import re
import sys

import pytest
from bad_server import CONTENT, HALF

from bsmamba2.catalogue import transfer
from bsmamba2.catalogue.download import fetch
from bsmamba2.errors import DownloadError


def files_in(folder):
    return {path.name for path in folder.iterdir()} - {"some-model.ckpt.lock"}


def failure(entry, folder, **options):
    """The one line of a failed download; no file has the final name."""
    with pytest.raises(DownloadError) as caught:
        fetch(entry, folder, **options)
    assert not (folder / "some-model.ckpt").exists()
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("way", "requests"),
    [
        ("good", ["/good/x"]),
        ("away", ["/away/x", "/good/x"]),
        ("cut", ["/cut/x", "/cut/x"]),
    ],
)
def test_a_file_arrives_whole(server, tmp_path, way, requests):
    seen = []
    path = fetch(
        server.entry(way), tmp_path / "new" / "folder", progress=lambda done, total: seen.append((done, total))
    )
    assert path.read_bytes() == CONTENT and path.name == "some-model.ckpt"
    assert [asked for asked, _ in server.asked] == requests
    assert seen == sorted(seen) and seen[-1] == (len(CONTENT), len(CONTENT))
    assert files_in(path.parent) == {"some-model.ckpt"}


def test_what_was_cut_off_goes_on_where_it_was(server, tmp_path):
    fetch(server.entry("cut"), tmp_path)
    assert server.asked == [("/cut/x", None), ("/cut/x", f"bytes={HALF}-")]


@pytest.mark.parametrize(
    ("way", "ranges"),
    [
        ("good", ["bytes=1000-"]),
        ("no-range", ["bytes=1000-"]),
        ("not-satisfiable", ["bytes=1000-", None]),
        ("other-part", ["bytes=1000-", None]),
    ],
)
def test_a_part_is_resumed_where_the_server_can(server, tmp_path, way, ranges):
    (tmp_path / "some-model.ckpt.part").write_bytes(CONTENT[:1000])
    assert fetch(server.entry(way), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == ranges


@pytest.mark.parametrize("earlier", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_a_part_of_another_file_is_no_hindrance(server, tmp_path, earlier):
    (tmp_path / "some-model.ckpt.part").write_bytes(earlier)
    assert fetch(server.entry("good"), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("/good/x", None)


def test_a_whole_part_is_not_asked_for_again(server, tmp_path):
    (tmp_path / "some-model.ckpt.part").write_bytes(CONTENT)
    assert fetch(server.entry("good"), tmp_path).read_bytes() == CONTENT
    assert not server.asked


@pytest.mark.parametrize("bad", ["absent", "broken", "wrong", "page", "larger", "circle", "nothing", "drops", "ends"])
def test_the_next_address_is_tried(server, tmp_path, bad):
    told = []
    path = fetch(server.entry(bad, "good"), tmp_path, tell=told.append)
    assert path.read_bytes() == CONTENT
    assert len(told) == 3 and "127.0.0.1: " in told[2] and "trying another address" in told[2]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("absent", r"127\.0\.0\.1: answers 404 \(Not Found\)"),
        ("forbidden", r"answers 403 \(Forbidden\)"),
        ("broken", r"answers 500 "),
        ("page", r"has a file of 20 bytes, expected 307200"),
        ("larger", r"sends more than the expected 307200 bytes"),
        ("wrong", r"sent another file \(its sha256 is not"),
        ("circle", r"redirects in a circle"),
        ("nothing", r"failed \(Server disconnected"),
        ("drops", r"broke off after 153600 of 307200 bytes"),
        ("ends", r"broke off after 153600 of 307200 bytes"),
    ],
)
def test_what_failed_and_what_to_do(server, tmp_path, way, message):
    entry = server.entry(way)
    line = failure(entry, tmp_path)
    by_hand = f": download {entry.addresses[0]} by hand and put it at {tmp_path / 'some-model.ckpt'}"
    assert line.startswith("some-model: not downloaded: ") and line.endswith(by_hand)
    assert re.search(message, line), line


def test_all_addresses_are_named(server, tmp_path):
    line = failure(server.entry("absent", "broken"), tmp_path)
    assert "404" in line and "500" in line and "/absent/x or http" in line


def test_wrong_bytes_leave_nothing_and_good_ones_stay_for_later(server, tmp_path):
    failure(server.entry("wrong"), tmp_path)
    assert not files_in(tmp_path)
    failure(server.entry("drops"), tmp_path)
    assert (tmp_path / "some-model.ckpt.part").read_bytes() == CONTENT[:HALF]
    fetch(server.entry("good"), tmp_path)
    assert server.asked[-1] == ("/good/x", f"bytes={HALF}-")


def test_never_more_bytes_are_written_than_expected(server, tmp_path):
    failure(server.entry("larger"), tmp_path)
    assert (tmp_path / "some-model.ckpt.part").stat().st_size <= len(CONTENT)


def test_a_server_that_stops_sending(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "READ_TIMEOUT", 0.2)
    assert "too slow: nothing came for 0.2 s" in failure(server.entry("slow"), tmp_path)


def test_nobody_answers(server, tmp_path):
    address = "http://127.0.0.1:9/x"  # nothing listens at the port of "discard"
    assert "127.0.0.1: cannot be reached (" in failure(server.entry(addresses=(address,)), tmp_path)


def test_a_name_that_is_not_known(server, tmp_path, monkeypatch):
    def unknown(*args, **options):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    line = failure(server.entry(addresses=("http://models.invalid/x",)), tmp_path)
    assert "models.invalid: its name cannot be resolved: is there a network?" in line


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("http://me:secret@127.0.0.1:9", "cannot be reached through the proxy 127.0.0.1:9 ("),
        ("ftp://127.0.0.1:9", "the proxy set in the environment is not usable (ftp://127.0.0.1:9"),
    ],
)
def test_a_proxy_that_does_not_work_is_named_without_its_password(server, tmp_path, monkeypatch, proxy, message):
    monkeypatch.setenv("http_proxy", proxy)
    line = failure(server.entry("good"), tmp_path)
    assert message in line and "secret" not in line
    assert not server.asked


def test_a_socks_proxy_says_what_it_needs(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    assert "pip install 'httpx[socks]'" in failure(server.entry("good"), tmp_path)


def test_certificates_that_are_not_there(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert "none.pem" in failure(server.entry("good"), tmp_path)
