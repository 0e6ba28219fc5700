"""What is sent to do harm, and the status code of each answer; afterwards nothing is left and nobody was asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hostile
import pytest
from raw_http import BOUND, form, raw, request
from serving_process import Served

pytestmark = pytest.mark.seconds
LIMITS = ("--max-seconds", "60", "--max-upload", "1", "--queue", "4")


@pytest.fixture(scope="module")
def served(starting):
    server = starting(*LIMITS)
    server.done = server.until(server.sent(("x.wav", hostile.sound("WAV"))), "done")["id"]
    return server


def post(body: bytes, **headers: str) -> Callable[[Served], int]:
    kind = {"Content_Type": f"multipart/form-data; boundary={BOUND}", "Content_Length": str(len(body))}
    return lambda served: raw(served, request("POST", "/api/jobs", body, **(kind | headers)), 30)


def song(make: Callable[[], bytes], name: str = "song.wav", **fields: str) -> Callable[[Served], int]:
    return lambda served: served.send((name, make()), **fields).status_code


def ask(method: str, path: str, **options: object) -> Callable[[Served], int]:
    return lambda served: served.http.request(method, path, **options).status_code  # type: ignore[arg-type]


def get(path: str, **headers: str) -> Callable[[Served], int]:
    """Without httpx, which would tidy the path up."""
    return lambda served: raw(served, request("GET", path.replace("{done}", served.done), **headers))


def no_song() -> bytes:
    return b"no song at all"


FILE = 'name="file"; filename="x.wav"'
CHUNKED = {"Transfer_Encoding": "chunked"}
HOSTILE_FILES = {
    "an hour of FLAC": (song(lambda: hostile.sound("FLAC", seconds=3600)), 413),
    "an hour of Vorbis": (song(lambda: hostile.sound("OGG", "VORBIS", 3600)), 413),
    "two minutes of Opus": (song(lambda: hostile.sound("OGG", "OPUS", 120)), 413),
    "two minutes of MP3": (song(lambda: hostile.sound("MP3", seconds=120, rate=16000)), 413),
    "FLAC that declares 2^36 - 1 samples": (song(hostile.flac_of_2_to_36_samples), 413),
    "WAV that declares 1 GB": (song(lambda: hostile.wav_of(1 << 30)), 415),
    "WAV of 1 Hz": (song(lambda: hostile.wav_at(1)), 415),
    "WAV of 4 GHz": (song(lambda: hostile.wav_at(4_000_000_000)), 415),
    "WAV of 0 Hz": (song(lambda: hostile.wav_at(0)), 415),
    "six channels": (song(lambda: hostile.sound("WAV", channels=6)), 415),
    "a playlist": (song(hostile.playlist), 415),
    "a playlist called song.wav": (song(hostile.playlist, "song.m3u8"), 415),
    "a list for ffmpeg": (song(hostile.concat_list), 415),
    "a picture": (song(hostile.picture), 415),
    "a tag of 256 MB": (song(hostile.endless_tag), 415),
    "text": (song(no_song), 415),
    "an empty file": (song(bytes), 400),
    "half a FLAC": (song(lambda: hostile.sound("FLAC")[:60]), 415),
    "MP3 stems at a rate without MP3": (song(lambda: hostile.sound("WAV", rate=96000), format="mp3"), 422),
    "more than the largest file": (song(lambda: bytes(3 << 20)), 413),
}
HOSTILE_FORMS = {
    "no form": (ask("POST", "/api/jobs", json={"file": "x"}), 415),
    "a form of another kind": (ask("POST", "/api/jobs", data={"file": "x"}), 415),
    "a form without a boundary": (post(form((FILE, b"x")), Content_Type="multipart/form-data"), 415),
    "a form with another boundary": (post(form((FILE, b"x")), Content_Type="multipart/form-data; boundary=other"), 400),
    "a boundary of 1000 letters": (post(b"", Content_Type=f"multipart/form-data; boundary={'x' * 1000}"), 400),
    "a form without an end": (post(form((FILE, b"x"), end=b"")), 400),
    "a form without a file": (post(form(('name="engine"', b"half"))), 400),
    "two files": (post(form((FILE, b"x"), (FILE, b"y"))), 400),
    "a field twice": (post(form(('name="engine"', b"half"), ('name="engine"', b"half"))), 400),
    "an unknown field": (post(form(('name="path"', b"/etc/passwd"))), 400),
    "a file called engine": (post(form(('name="engine"; filename="x"', b"half"), ('name="file"', b"x"))), 400),
    "a field of 100 kB": (post(form(('name="stems"', b"v" * 100_000))), 400),
    "a hundred parts": (post(form(*[(f'name="{i}"', b"x") for i in range(100)])), 400),
    "a part with 1000 headers": (
        post(f"--{BOUND}\r\n".encode() + b"X-A: b\r\n" * 1000 + b"\r\nx\r\n" + f"--{BOUND}--\r\n".encode()),
        400,
    ),
    "a part without headers": (post(f"--{BOUND}\r\n\r\nx\r\n--{BOUND}--\r\n".encode()), 400),
    "an unknown engine": (song(hostile.picture, engine="../../etc/passwd"), 422),
    "an unknown stem": (song(hostile.picture, stems="vocals,../../x"), 422),
    "an unknown format": (song(hostile.picture, format="exe"), 422),
    "a length of 1 TB": (post(b"", Content_Length=str(1 << 40)), 413),
    "a negative length": (post(b"", Content_Length="-5"), 400),
    "a length that is no number": (post(b"", Content_Length="many"), 400),
    "two lengths": (get("/health", Content_Length="5, 6"), 400),
    "a chunk that is none": (post(b"zz\r\n", **CHUNKED), 400),
    "3 MB in chunks, of no declared length": (
        lambda served: (
            served.http.post(
                "/api/jobs",
                content=iter([form((FILE, b""), end=b"")[:-11], *[bytes(1 << 16)] * 48]),
                headers={"content-type": f"multipart/form-data; boundary={BOUND}"},
            ).status_code
        ),
        413,
    ),
}
ADDRESSES = {
    "a file beside the page": (get("/page/../app.py"), 404),
    "the same, encoded": (get("/page/%2e%2e%2fapp.py"), 404),
    "the same, encoded twice": (get("/page/%252e%252e%252fapp.py"), 404),
    "with backslashes": (get("/page/..\\app.py"), 404),
    "with a NUL": (get("/page/index.html%00.js"), 404),
    "an absolute path": (get("/page//etc/passwd"), 404),
    "a job called ..": (get("/api/jobs/.."), 404),
    "a job that is a path": (get("/api/jobs/..%2f..%2fetc"), 404),
    "a job of another's": (get("/api/jobs/" + "0" * 32), 404),
    "a stem that is a path": (get("/api/jobs/{done}/stems/..%2fsong"), 404),
    "a preview that is a path": (get("/api/jobs/{done}/previews/..%2f..%2fjob"), 404),
    "a stem that is its file": (get("/api/jobs/{done}/stems/vocals.wav"), 404),
    "its state": (get("/api/jobs/{done}/job.json"), 404),
    "another method": (ask("PUT", "/api/jobs"), 405),
    "TRACE": (ask("TRACE", "/"), 405),
    "an address of 100 kB": (get("/" + "a" * 100_000), 404),
    "an address without an end": (lambda served: raw(served, b"GET /" + b"a" * 1_000_000), 400),
    "a header without an end": (lambda served: raw(served, b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000), 400),
    "no HTTP": (lambda served: raw(served, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), 400),
    "a range that is none": (get("/api/jobs/{done}/stems/vocals", Range="bytes=x-y"), 400),
    "a range behind the end": (get("/api/jobs/{done}/stems/vocals", Range="bytes=99999999-"), 416),
    "a thousand ranges": (get("/api/jobs/{done}/stems/vocals", Range="bytes=" + ",".join(["0-0"] * 1000)), 200),
}
WHO = {
    "another name (DNS rebinding)": (get("/", Host="evil.example"), 421),
    "another name with our port": (get("/api/jobs", Host="evil.example:8765"), 421),
    "a name that begins with ours": (get("/", Host="localhost.evil.example"), 421),
    "a user in front of the name": (get("/", Host="localhost@evil.example"), 421),
    "another address": (get("/", Host="93.184.216.34"), 421),
    "no name": (lambda served: raw(served, b"GET / HTTP/1.1\r\n\r\n"), 400),
    "two names": (lambda served: raw(served, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"), 400),
    "a page of another server sends": (ask("POST", "/api/jobs", headers={"origin": "https://evil.example"}), 403),
    "a page of no server sends": (ask("POST", "/api/jobs", headers={"origin": "null"}), 403),
    "a page of another port deletes": (
        ask("DELETE", "/api/jobs/" + "0" * 32, headers={"origin": "http://127.0.0.1:1"}),
        403,
    ),
    "a page of another server asks": (ask("GET", "/api/jobs", headers={"origin": "https://evil.example"}), 403),
    "a form of another server": (ask("POST", "/api/jobs", headers={"sec-fetch-site": "cross-site"}), 403),
    "a preflight": (
        ask("OPTIONS", "/api/jobs", headers={"origin": "https://evil.example", "access-control-request-method": "PUT"}),
        403,
    ),
}
TABLE = HOSTILE_FILES | HOSTILE_FORMS | ADDRESSES | WHO


@pytest.mark.parametrize("name", TABLE)
def test_an_attack_gets_its_status_code(served, name):
    attack, status = TABLE[name]
    before = served.files()
    assert attack(served) == status
    assert served.files() == before
    assert served.http.get("/health").status_code == 200


def test_afterwards_nothing_is_left_and_nobody_was_asked(served):
    for job in served.http.get("/api/jobs").json()["jobs"]:
        served.http.delete(f"/api/jobs/{job['id']}")
    assert served.files() == ["lock"]
    assert sorted(path.name for path in served.folder.iterdir()) == ["data", "log", "tmp", "watched"]
    for line in (served.folder / "watched").read_text().splitlines():
        event, *values = line.split("\t")
        if event.startswith("socket."):
            raise AssertionError(line)
        for value in values:
            path = Path(value.strip("'"))
            inside = not path.is_absolute() or path.is_relative_to(served.folder)
            assert inside or "__pycache__" in path.parts or path.is_relative_to("/dev"), line
    assert "Traceback" not in served.log
