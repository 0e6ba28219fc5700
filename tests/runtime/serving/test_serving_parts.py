"""Names, hosts and tokens, without a server."""

from __future__ import annotations

import asyncio
import socket

import pytest
from starlette.datastructures import Headers

from runtime.errors import OptionError
from runtime.serve_cli import read_token
from runtime.serving.jobs import Job, Store, new_id
from runtime.serving.names import base_name, song_name, stem_name
from runtime.serving.security import COOKIE, Names, Token, is_loopback
from runtime.serving.server import listen


@pytest.mark.parametrize("given", ["", ".", "..", "/", "a/..", "\x00", "\u200b", "   ", "...wav/"])
def test_a_name_is_never_empty(given):
    assert song_name(given) == "song"


@pytest.mark.parametrize(
    ("name", "base"), [("a.wav", "a"), ("a.b.flac", "a.b"), ("a", "a"), (".wav", ".wav"), ("Nr. 5 in C", "Nr. 5 in C")]
)
def test_stems_are_named_after_the_song(name, base):
    assert base_name(name) == base
    assert stem_name(name, "vocals", ".flac") == f"{base}_vocals.flac"


@pytest.mark.parametrize(
    ("host", "asked", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:8765", True),
        ("127.0.0.1", "localhost:8765", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "[::1]:8765", True),
        ("127.0.0.1", "192.168.1.2:8765", False),
        ("127.0.0.1", "stems.example", True),
        ("127.0.0.1", "other.example", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "", False),
        ("0.0.0.0", "192.168.1.2:8765", True),
        ("0.0.0.0", "other.example", False),
    ],
)
def test_a_server_answers_to_its_own_names(host, asked, allowed):
    assert Names(host, ["Stems.example"]).allow(asked) is allowed


@pytest.mark.parametrize(
    ("host", "is_local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_only_loopback_needs_no_token(host, is_local):
    assert is_loopback(host) is is_local


def test_a_token_is_shown_as_it_is_or_as_its_cookie():
    token = Token("0123456789abcdef")
    shown = [
        {"authorization": "Bearer 0123456789abcdef"},
        {"cookie": f"other=1; {COOKIE}={token.cookie}"},
    ]
    assert all(token.shown_by(Headers(each)) for each in shown)
    assert not token.shown_by(Headers({"cookie": f"{COOKIE}={Token('fedcba9876543210').cookie}"}))
    assert Token("0123456789abcdef").cookie == token.cookie  # after a restart, too


@pytest.mark.parametrize(
    "content", [b"short", b"0123456789 abcdef", b"0123456789abcdef\n0123", "0123456789abcdéf".encode(), b"\xff" * 20]
)
def test_a_token_that_is_none_is_refused(content, tmp_path):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(OptionError, match="token"):
        read_token(tmp_path / "token")


def test_a_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    assert read_token(tmp_path / "token") == "0123456789abcdef"
    monkeypatch.setenv("BSM_SERVE_TOKEN", "fedcba9876543210")
    assert read_token(None) == "fedcba9876543210"
    monkeypatch.delenv("BSM_SERVE_TOKEN")
    assert read_token(None) is None


def kept(store: Store, **fields: object) -> Job:
    job = Job(new_id(), "x.wav", "half", ["vocals"], None, 1.0)
    folder = store.incoming(job.id)
    (folder / "song").write_bytes(b"song")
    store.add(job, folder)
    for name, value in fields.items():
        setattr(job, name, value)
    store.save(job)
    return job


def test_jobs_come_back_as_they_were(tmp_path):
    store = Store(tmp_path)
    jobs = [
        kept(store),
        kept(store, created=2.0, state="done", progress=1.0, seconds=2.5, files=[{"name": "vocals"}]),
    ]
    store.close()
    again = Store(tmp_path)
    assert [vars(job) for job in again.jobs.values()] == [vars(job) for job in jobs]
    again.close()


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"id": 5}', "\x00" * 100])
def test_a_folder_that_is_no_job_is_removed(tmp_path, content):
    store = Store(tmp_path)
    path = store.path(kept(store)) / "job.json"
    store.close()
    path.unlink() if content is None else path.write_text(content)
    again = Store(tmp_path)
    assert not again.jobs and not list((tmp_path / "jobs").iterdir())
    again.close()


def test_a_folder_serves_one_server(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(OptionError, match="another bsm-serve uses it"):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()


def test_answers_are_sent_without_delay():
    async def no_delay() -> int:
        accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        with listen("127.0.0.1", 0) as listening:
            server = await asyncio.start_server(lambda reader, writer: accepted.put_nowait(writer), sock=listening)
            _, asking = await asyncio.open_connection(*listening.getsockname())
            answering = await accepted.get()
            set_to = answering.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for each in (asking, answering):
                each.close()
                await each.wait_closed()
            server.close()
        return set_to

    assert asyncio.run(no_delay())
