"""Limits of `bsm-serve`, on what is sent and on who sends it."""

from __future__ import annotations

import json
import socket
import time

import hostile
import httpx
import pytest
from raw_http import BOUND, form, raw, request
from serving_process import TOKEN

pytestmark = pytest.mark.seconds
LIMITS = ("--max-seconds", "60", "--max-upload", "1")
FILE = 'name="file"; filename="x.wav"'


@pytest.fixture(scope="module")
def served(starting):
    return starting(*LIMITS)


@pytest.fixture(scope="module")
def guarded(starting):
    return starting(*LIMITS, token=TOKEN)


AT_LENGTH = {
    # Nothing is declared, or less than there is: what counts is what is decoded.
    "a header that says nothing": hostile.flac_of_unknown_length,
    "nine minutes in an Ogg file cut off": lambda: hostile.sound("OGG", "VORBIS", 540)[:-1000],
}


@pytest.mark.parametrize("name", AT_LENGTH)
def test_seconds_are_counted_while_a_song_is_decoded(served, name):
    answer = served.send(("song", AT_LENGTH[name]()))
    if answer.status_code == 202:
        job = served.until(answer.json()["id"], "failed")
        assert "lasts" in job["error"] or "incomplete" in job["error"]
        assert served.http.delete(f"/api/jobs/{job['id']}").status_code == 204
    else:
        assert answer.status_code in (413, 415)


def test_a_wav_file_that_declares_2_gb_is_read_as_the_second_that_is_there(served):
    job = served.until(served.sent(("x.wav", hostile.wav_of(1 << 31))), "done")
    assert job["seconds"] == 1.0


def test_samples_that_are_no_numbers_fail_the_job(served):
    job = served.until(served.sent(("x.wav", hostile.wav_of_nan())), "failed")
    assert job["error"].startswith("x.wav: holds NaN, Inf")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd%00%0d%0aX: y.flac", "passwd%00X_ y.flac"),
        ("C:\\Windows\\system32\\x.wav", "x.wav"),
        ("..", "song"),
        ("<script>alert(1)</script>.wav", "script_.wav"),
        ("a\u202egnp.wav", "agnp.wav"),
        ("x" * 3000 + ".wav", "x" * 110 + ".wav"),
    ],
)
def test_the_name_of_a_file_is_for_show_only(served, given, shown):
    before = set(served.files())
    job = served.until(served.sent((given, hostile.sound("WAV"))), "done")
    assert job["name"] == shown
    new = {path.split("/")[-1] for path in set(served.files()) - before}
    assert new == {"job.json", "song.mp3", *(f"{stem}.{kind}" for stem in STEMS for kind in ("wav", "mp3"))}
    assert "\n" not in served.http.get(job["stems"][0]["url"]).headers["content-disposition"]


STEMS = ("vocals", "instrumental")


def test_a_full_queue_says_when_to_come_again(starting, songs):
    served = starting("--queue", "2")
    first = served.sent(songs / "long.flac")
    served.until(first, "working")
    waiting = [served.sent(songs / "long.flac") for _ in range(2)]
    assert [served.job(each)["place"] for each in waiting] == [1, 2]
    answer = served.send(songs / "long.flac")
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
    assert served.http.delete(f"/api/jobs/{waiting[0]}").status_code == 204
    assert served.send(songs / "long.flac").status_code == 202


def test_clients_that_are_too_slow_are_given_up(served):
    """One that sends a song byte by byte, one that does not finish the head of a request; at the same time."""
    body = form((FILE, bytes(100)))
    head = {"Content_Type": f"multipart/form-data; boundary={BOUND}", "Content_Length": str(len(body))}
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", served.http.base_url.port), timeout=20) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert raw(served, request("POST", "/api/jobs", body[:20], **head), 20) == 408
        assert silent.recv(100) == b""
    assert 9 < time.monotonic() - start < 15


def test_without_the_token_nothing_is_told(guarded):
    with httpx.Client(base_url=guarded.url, trust_env=False) as stranger:
        for path in ("/api/jobs", "/api/engines", "/metrics", "/api/openapi.json", "/api/jobs/x/stems/vocals", "/none"):
            answer = stranger.get(path)
            assert answer.status_code == 401 and list(answer.json()) == ["error"]
        for header in (
            "Bearer wrong",
            f"Bearer {TOKEN}x",
            f"Basic {TOKEN}",
            "Bearer",
            f"Bearer {TOKEN[:-1]}",
            "Bearer \xff",
        ):
            assert stranger.get("/api/jobs", headers={"authorization": header.encode("latin-1")}).status_code == 401
        for cookie in ("bsm_serve=", f"bsm_serve={TOKEN}", "bsm_serve=\xe9", "bsm_serve[=;;=", "bsm_serve=" + "0" * 64):
            assert stranger.get("/api/jobs", headers={"cookie": cookie.encode("latin-1")}).status_code == 401
        assert stranger.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps({"token": "wrong"}).encode(), 401),
        (json.dumps({"token": 5}).encode(), 401),
        (json.dumps({"token": "\ud800"}).encode(), 401),
        (json.dumps([TOKEN]).encode(), 400),
        (b"no json", 400),
        (b"[" * 4000, 400),
        (b"\xff\xfe", 400),
        (b'{"token": "' + b"x" * 10_000 + b'"}', 413),
    ],
)
def test_what_is_no_token_opens_nothing(guarded, body, status):
    answer = httpx.post(f"{guarded.url}/api/login", content=body, trust_env=False)
    assert answer.status_code == status and "set-cookie" not in answer.headers


def test_a_token_becomes_a_cookie_that_scripts_and_other_pages_do_not_get(guarded):
    with httpx.Client(base_url=guarded.url, trust_env=False) as browser:
        answer = browser.post("/api/login", json={"token": TOKEN})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
        assert browser.get("/api/jobs").status_code == 200
        assert browser.post("/api/jobs", headers={"origin": "https://evil.example"}).status_code == 403
