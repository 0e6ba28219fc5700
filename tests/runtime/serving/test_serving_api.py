"""The interface of `bsm-serve`: a song in, its states, its stems out."""

from __future__ import annotations

import io
import json
import zipfile

import httpx
import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.seconds


def read(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]


@pytest.fixture(scope="module")
def done(served, songs):
    """A job that is done."""
    return served.until(served.sent(songs / "short.wav"), "done")


def test_a_song_gets_an_id_at_once_and_stems_in_the_end(served, songs, done):
    assert len(done["id"]) == 32 and set(done["id"]) <= set("0123456789abcdef")
    assert [stem["name"] for stem in done["stems"]] == ["vocals", "instrumental"]
    song = soundfile.read(songs / "short.wav", dtype="float32", always_2d=True)[0]
    for stem in done["stems"]:
        answer = served.http.get(stem["url"])
        assert answer.headers["content-type"] == stem["type"] == "audio/wav"
        assert len(answer.content) == stem["bytes"]
        assert np.abs(read(answer.content) - song / 2).max() < 1e-3  # of 16 bits
    assert (done["progress"], done["seconds"], done["tries"], done["error"]) == (1.0, 2.0, 1, None)
    assert done["name"] == "short.wav" and done["engine"] == "half" and done["place"] is None
    assert done["created"] < done["expires"]


def test_previews_are_mp3_of_the_song_and_its_stems(served, done):
    for url in (done["song"]["preview"], *(stem["preview"] for stem in done["stems"])):
        answer = served.http.get(url)
        assert answer.headers["content-type"] == "audio/mpeg"
        sound = soundfile.info(io.BytesIO(answer.content))
        assert (sound.format, sound.samplerate, sound.channels) == ("MP3", 44100, 2)
        assert abs(sound.duration - 2.0) < 0.1


def test_a_part_of_a_stem_and_a_name_to_save_it_under(served, songs):
    job = served.until(served.sent(('Ünï ☃ "x".wav', (songs / "short.wav").read_bytes())), "done")
    url = job["stems"][0]["url"]
    whole = served.http.get(url)
    part = served.http.get(url, headers={"range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == whole.content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert whole.headers["content-disposition"].startswith("inline")
    saved = served.http.get(url, params={"download": "1"}).headers["content-disposition"]
    assert saved == "attachment; filename*=utf-8''%C3%9Cn%C3%AF%20%E2%98%83%20_x__vocals.wav"
    assert served.http.get(url, headers={"range": "bytes=999999999-"}).status_code == 416


def test_all_stems_in_one_archive(served, done):
    answer = served.http.get(f"/api/jobs/{done['id']}/stems.zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["short_vocals.wav", "short_instrumental.wav"]
        assert archive.testzip() is None
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("short_vocals.wav") == served.http.get(done["stems"][0]["url"]).content


def test_stems_and_format_can_be_chosen(served, songs):
    job = served.until(served.sent(songs / "short.wav", stems="Instrumental", format="flac", engine="half"), "done")
    assert [(stem["name"], stem["type"]) for stem in job["stems"]] == [("instrumental", "audio/flac")]


def test_events_tell_each_change_until_the_end(served, songs):
    name = served.sent(songs / "short.wav")
    states = []
    with served.http.stream("GET", f"/api/jobs/{name}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                states.append(json.loads(line[6:]))
            else:
                assert line in ("", "event: job") or line.startswith(":")
    assert states[-1]["state"] == "done" and states[-1] == served.job(name)
    assert [job["progress"] for job in states] == sorted(job["progress"] for job in states)


def test_jobs_are_listed_newest_first(served, songs):
    first, second = served.sent(songs / "short.wav"), served.sent(songs / "short.wav")
    served.until(first, "done")
    served.until(second, "done")
    assert [job["id"] for job in served.http.get("/api/jobs").json()["jobs"]][:2] == [second, first]


def test_a_working_job_is_cancelled_and_those_behind_it_move_up(served, songs):
    first, second = served.sent(songs / "long.flac"), served.sent(songs / "short.wav")
    served.until(first, "working")
    assert served.job(second)["place"] == 1
    assert served.http.delete(f"/api/jobs/{first}").status_code == 204
    job = served.job(first)
    assert (job["state"], job["stems"], job["error"]) == ("cancelled", [], None)
    assert served.until(second, "done")
    assert served.http.delete(f"/api/jobs/{first}").status_code == 204
    assert served.http.get(f"/api/jobs/{first}").status_code == 404
    assert not [path for path in served.files() if first in path]


def test_a_removed_job_leaves_nothing(served, done):
    name = served.until(served.sent(("x.wav", served.http.get(done["stems"][0]["url"]).content)), "done")["id"]
    assert served.http.delete(f"/api/jobs/{name}").status_code == 204
    for path in ("", "/events", "/stems/vocals", "/previews/song", "/stems.zip"):
        answer = served.http.get(f"/api/jobs/{name}{path}")
        assert answer.status_code == 404 and list(answer.json()) == ["error"]
    assert not [path for path in served.files() if name in path]


def test_a_song_that_turns_out_to_be_damaged_fails_in_one_line(served, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (80000, 2))
    soundfile.write(tmp_path / "x.flac", noise, 8000)
    data = bytearray((tmp_path / "x.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    name = served.sent(("my song.flac", bytes(data)))
    job = served.until(name, "failed")
    assert "my song.flac: the file is incomplete or damaged" in job["error"]
    assert "/" not in job["error"] and "\n" not in job["error"]
    assert [path for path in served.files() if name in path] == [f"jobs/{name}/job.json"]


def test_engines_and_limits_are_told(served):
    told = served.http.get("/api/engines").json()
    assert told["engines"] == [
        {"name": "half", "stems": ["vocals", "instrumental"], "sample_rate": 44100, "network": "BSMamba2"}
    ]
    assert told["limits"]["seconds"] == 900 and told["limits"]["upload_bytes"] == 4 << 20
    assert "flac" in told["limits"]["formats"]


def test_health_and_metrics(served, done):
    assert served.http.get("/health").json() == {"status": "ok"}
    text = served.http.get("/metrics").text
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(numbers['bsm_jobs_finished_total{state="done"}']) >= 1
    assert float(numbers["bsm_song_seconds_total"]) >= 2
    for name in numbers:
        assert f"# TYPE {name.split('{')[0]} " in text


def test_every_answer_has_the_headers(served):
    for path in ("/", "/health", "/api/jobs", "/api/nothing", "/page/none.js"):
        headers = served.http.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers and not [name for name in headers if name.startswith("access-control")]


def test_an_old_client_of_http_1_0_is_served(served):
    assert httpx.get(f"{served.url}/health", headers={"connection": "close"}, trust_env=False).status_code == 200
