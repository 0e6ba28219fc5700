"""`bsm-serve --client`: songs from a shell through a server."""

from __future__ import annotations

import http.server
import json
import threading
import time

import numpy as np
import pytest
import soundfile
from serving_process import TOKEN
from songs import files

from runtime.command import exit_code
from runtime.serve_cli import app

pytestmark = pytest.mark.seconds


@pytest.fixture
def client(monkeypatch, tmp_path):
    """`bsm-serve --client URL ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda url, *arguments: exit_code(app, "bsm-serve", ["--client", url, *map(str, arguments)])


def test_stems_come_back_under_the_names_of_bsm_run(served, songs, client, capsys):
    assert client(served.url, songs / "short.wav", "-o", "out") == 0
    assert files("out") == ["short_instrumental.wav", "short_vocals.wav"]
    song, rate = soundfile.read(songs / "short.wav", dtype="float32")
    vocals, kept = soundfile.read("out/short_vocals.wav", dtype="float32")
    assert rate == kept and np.abs(vocals - song / 2).max() < 1e-3
    told = capsys.readouterr()
    assert told.out.splitlines()[1:] == ["  out/short_vocals.wav", "  out/short_instrumental.wav"] and not told.err


def test_existing_stems_are_not_replaced_and_nothing_is_sent(served, songs, client, capsys):
    assert client(served.url, songs / "short.wav", "--stems", "vocals", "--format", "flac") == 0
    before = len(served.http.get("/api/jobs").json()["jobs"])
    assert client(served.url, songs / "short.wav") == 2
    assert "separated/short_vocals.flac: already exists" in capsys.readouterr().err
    assert len(served.http.get("/api/jobs").json()["jobs"]) == before
    assert files() == ["short_vocals.flac"]


def test_a_song_that_fails_does_not_stop_the_others(served, songs, client, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("no song")
    assert client(served.url, "text.wav", songs / "short.wav") == 2
    assert files() == ["short_instrumental.wav", "short_vocals.wav"]
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("bsm-serve: text.wav: refused by the server (415): text.wav: cannot be read as audio")
    assert last == "bsm-serve: 1 of 2 songs failed"


def test_a_full_queue_is_waited_for(starting, songs, client, tmp_path):
    served = starting("--queue", "1")
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.wav").write_bytes((songs / "short.wav").read_bytes())
    assert client(served.url, tmp_path, "-o", "out", "--stems", "vocals") == 0
    assert files("out") == [f"{name}_vocals.wav" for name in "abcd"]


def test_a_server_that_is_started_again_meanwhile_gives_the_stems(starting, songs, client, tmp_path):
    served = starting()
    port = served.url.rsplit(":", 1)[1]

    def restart() -> None:
        while not served.http.get("/api/jobs").json()["jobs"]:
            time.sleep(0.02)
        served.kill()
        starting("--port", port, folder=served.folder)

    again = threading.Thread(target=restart)
    again.start()
    assert client(served.url, songs / "half.flac", "-o", "out", "--stems", "vocals") == 0
    again.join()
    assert files("out") == ["half_vocals.flac"]


def test_a_token_is_needed_and_shown(starting, songs, client, capsys, tmp_path):
    served = starting(token=TOKEN)
    assert client(served.url, songs / "short.wav") == 2
    assert "(401): the token is missing or wrong: give --token-file" in capsys.readouterr().err
    (tmp_path / "token").write_text(TOKEN)
    assert client(served.url, songs / "short.wav", "--token-file", "token", "-o", "out") == 0


def test_mistakes_are_one_line(served, songs, client, capsys):
    for arguments, said in [
        ((served.url,), "no songs given"),
        (("ftp://x", songs / "short.wav"), "expected http://"),
        (("http://127.0.0.1:9", songs / "short.wav"), "cannot be reached"),
        ((served.url, "none.wav"), "none.wav"),
        ((served.url, songs / "short.wav", "--engine", "other"), "the server has half"),
        ((served.url, songs / "short.wav", "--stems", "drums"), "(422): stems: the engine half gives"),
    ]:
        assert client(*arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and said in error, error


class Evil(http.server.BaseHTTPRequestHandler):
    """A server whose stems have names that lead elsewhere."""

    def do_GET(self):
        stems = [{"name": "../../evil", "type": "audio/wav", "bytes": 1}]
        told = {"engines": [{"name": "x", "stems": ["vocals"]}], "state": "done", "stems": stems, "seconds": 1.0}
        self.answer(200, told)

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(202, {"id": "1"})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_names_from_a_server_lead_nowhere(songs, client, capsys, tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), Evil) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert client(f"http://127.0.0.1:{server.server_port}", songs / "short.wav", "-o", "a/b") == 2
        server.shutdown()
    assert "offers a stem that is none: '../../evil'" in capsys.readouterr().err
    assert files(tmp_path) == []
