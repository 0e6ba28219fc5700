"""Servers and workers that die: what was accepted is done nevertheless, or fails in words."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from serving_process import PATIENCE

from runtime.command import exit_code
from runtime.serve_cli import app

pytestmark = pytest.mark.seconds


def kill_worker(served) -> None:
    """The eldest child: the other one only looks at songs."""
    os.kill(served.children()[0], signal.SIGKILL)


def test_a_killed_server_goes_on_with_what_it_had_accepted(starting, songs):
    served = starting()
    done = served.until(served.sent(songs / "short.wav"), "done")
    working, waiting = served.sent(songs / "half.flac"), served.sent(songs / "short.wav", format="flac")
    served.until(working, "working")
    served.kill()
    left = served.data / "incoming" / "half"
    left.mkdir()
    (left / "song").write_bytes(b"half a song")

    again = starting(folder=served.folder)
    assert again.job(done["id"]) == done
    assert again.http.get(done["stems"][0]["url"]).status_code == 200
    assert not left.exists()
    first, second = again.until(working, "done"), again.until(waiting, "done")
    assert (first["tries"], second["tries"]) == (2, 1)
    assert second["stems"][0]["type"] == "audio/flac"
    for job in again.http.get("/api/jobs").json()["jobs"]:
        assert again.http.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert again.files() == ["lock"]


def test_a_stopped_server_costs_no_job_a_try(starting, songs):
    served = starting()
    name = served.sent(songs / "half.flac")
    served.until(name, "working")
    start = time.monotonic()
    with served.http.stream("GET", f"/api/jobs/{name}/events"):  # does not hold it up
        assert served.stop() == 0
    assert time.monotonic() - start < 10
    kept = json.loads((served.data / "jobs" / name / "job.json").read_text())
    assert (kept["state"], kept["tries"]) == ("waiting", 0)
    assert starting(folder=served.folder).until(name, "done")["tries"] == 1


def test_a_worker_that_dies_costs_its_job_one_try(starting, songs):
    served = starting()
    name = served.sent(songs / "half.flac")
    served.until(name, "working")
    kill_worker(served)
    assert served.until(name, "done")["tries"] == 2
    assert "killed by signal 9" in served.log


def test_a_song_whose_workers_die_fails_and_the_next_is_separated(starting, songs):
    served = starting()
    poison, other = served.sent(songs / "long.flac"), served.sent(songs / "short.wav")
    for tries in (1, 2, 3):
        while (job := served.job(poison))["state"] != "working" or job["tries"] != tries:
            time.sleep(0.02)
        time.sleep(0.2)
        pids = served.children()
        os.kill(pids[0] if tries == 1 else pids[-1], signal.SIGKILL)
    job = served.until(poison, "failed")
    assert job["error"] == "its worker died 3 times: killed by signal 9 (out of memory?)"
    assert served.until(other, "done")["tries"] == 1
    assert [path for path in served.files() if poison in path] == [f"jobs/{poison}/job.json"]


def test_workers_end_with_a_killed_server(starting, songs):
    served = starting()
    served.until(served.sent(songs / "long.flac"), "working")
    pids = served.children()
    assert len(pids) == 2
    served.kill()
    end = time.monotonic() + PATIENCE
    while any(running(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_jobs_expire(starting, songs):
    served = starting("--keep", "0.001")  # hours
    name = served.until(served.sent(songs / "short.wav"), "done")["id"]
    end = time.monotonic() + PATIENCE
    while served.http.get(f"/api/jobs/{name}").status_code != 404:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert served.files() == ["lock"]


def test_a_song_that_takes_too_long_fails_at_once(starting, songs):
    served = starting("--max-work", "0.02")  # minutes
    job = served.until(served.sent(songs / "long.flac"), "failed")
    assert (job["error"], job["tries"]) == ("it was stopped, as it was not ready within 1.2 s", 1)
    assert served.until(served.sent(songs / "short.wav"), "done")  # by another worker


def test_what_cannot_be_served_is_one_line(starting, engine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    served = starting()
    port = served.url.rsplit(":", 1)[1]
    for arguments, said in [
        ([], "no engines given"),
        ([tmp_path / "none.onnx"], "none"),
        ([engine, engine], "both are called half"),
        ([engine, "--host", "0.0.0.0"], "give --token-file"),
        ([engine, "--port", port], "cannot listen there (Address already in use)"),
        ([engine, "--port", "0", "--data", served.data], "another bsm-serve uses it"),
        ([engine, "--data", "/dev/null/x"], "cannot be used"),
        ([engine, "--token-file", tmp_path / "none"], "cannot be read (No such file or directory)"),
        ([engine, "--token-file", "/dev/null"], "expected 16 printable"),
        (["song.wav"], "named like a song"),
        ([engine, "--stems", "vocals"], "are for --client"),
        ([engine, "--max-memory", "100"], "greater than or equal to 512"),
    ]:
        assert exit_code(app, "bsm-serve", list(map(str, arguments))) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and said in error, (arguments, error)
