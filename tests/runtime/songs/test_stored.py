"""Songs and stems in an object store: a real S3 server that runs in this process and fails when it is told to."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import soundfile
from fakes import separator_of
from poison import opened, poison
from songs import files, lines, song

pytest.importorskip("s3fs", reason="not installed: s3fs (extra cloud)")
pytest.importorskip("moto", reason="not installed: moto")

import fsspec
from s3_server import S3, s3_server

from runtime.cluster.local import LocalProcesses
from runtime.cluster.work import Finished, Job, Retried, Task
from runtime.errors import AudioError, OptionError
from runtime.songs import store
from runtime.songs.batch import Settings
from runtime.songs.inputs import NamedSong, find_songs
from runtime.songs.stored import StoredBatch

pytestmark = [pytest.mark.seconds, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def server():
    with s3_server() as running:
        yield running


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3:
    """An empty bucket `bkt`; requests are tried again at once."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.address,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(tmp_path / "temporary"),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(store, "PAUSES", (0.0, 0.0, 0.0))
    server.fault = lambda request: None
    fs = bucket()
    if fs.exists("bkt"):
        fs.rm("bkt", recursive=True)
    fs.mkdir("bkt")
    server.requests.clear()
    return server


def bucket():
    return fsspec.filesystem("s3", use_listings_cache=False)


def objects() -> list[str]:
    return sorted(bucket().find("bkt"))


def upload(folder: Path, *names: str, samples: int = 9000) -> None:
    for name in names:
        song(folder / name, samples=samples)
        bucket().put_file(str(folder / name), f"bkt/in/{name}")


def batch(existing: str = "refuse", **settings: object) -> StoredBatch:
    return StoredBatch(
        separator_of(),
        "x.onnx",
        Settings(Path("s3://bkt/out"), **{"stems": ["vocals", "instrumental"], "existing": existing, **settings}),
    )


def quiet(*state: object) -> None:
    """Nobody looks."""


A = NamedSong(Path("s3://bkt/in/a.wav"), Path("a"))
DONE = ["bkt/out/a.bsm.json", "bkt/out/a_instrumental.wav", "bkt/out/a_vocals.wav"]


def samples(file: bytes) -> bytes:
    """Of a WAV file, which also holds the time it was made at."""
    return soundfile.read(io.BytesIO(file), dtype="float32")[0].tobytes()


def left() -> list[str]:
    return files(tempfile.gettempdir())


def test_a_bucket_is_separated_as_a_folder_is(s3, run, tmp_path):
    upload(tmp_path / "in", "a.wav", "x/b.wav", ".hidden.wav", "notes.txt.wav")
    assert run(tmp_path / "in", "-r", "-o", "here") == 0
    assert run("s3://bkt/in", "-r", "-o", "s3://bkt/out", "--manifest", "done.jsonl") == 0
    made = [name for name in objects() if name.startswith("bkt/out/") and not name.endswith(".json")]
    assert made == [f"bkt/out/{name}" for name in files("here")]
    for name in files("here"):
        assert samples(bucket().cat_file(f"bkt/out/{name}")) == samples(Path("here", name).read_bytes())
    first = next(line for line in lines() if line["song"].endswith("a.wav"))
    assert first["song"] == "s3://bkt/in/a.wav" and first["stems"]["vocals"] == "s3://bkt/out/a_vocals.wav"
    assert not left() and not Path("s3:").exists()


def test_from_a_store_to_this_disk_and_back(s3, run, tmp_path):
    upload(tmp_path / "in", "a.wav")
    assert run("s3://bkt/in/a.wav", "-o", "here") == 0
    assert run("in/a.wav", "-o", "s3://bkt/out") == 0
    assert files("here") == ["a_instrumental.wav", "a_vocals.wav"] and objects()[1:] == DONE
    assert samples(bucket().cat_file(DONE[2])) == samples(Path("here/a_vocals.wav").read_bytes())


def test_the_marker_is_the_last_object_and_says_what_is_there(s3, tmp_path):
    upload(tmp_path, "a.wav")
    s3.requests.clear()
    batch().separate(A, quiet)
    puts = [path for method, path in s3.requests if method == "PUT"]
    assert puts[-1] == "/bkt/out/a.bsm.json" and len(puts) == 3
    marker = json.loads(bucket().cat_file(DONE[0]))
    assert marker["song"] == "s3://bkt/in/a.wav"
    assert marker["files"] == {name.split("/")[-1]: bucket().info(name)["size"] for name in DONE[1:]}


def test_a_run_goes_on_where_the_marker_says(s3, tmp_path):
    upload(tmp_path, "a.wav")
    batch().separate(A, quiet)
    s3.requests.clear()
    again = batch("skip").separate(A, quiet)
    assert again.written == [] and again.stems["vocals"] == Path("s3://bkt/out/a_vocals.wav")
    assert not any(path.startswith("/bkt/in") for _, path in s3.requests)  # it is not even fetched
    with pytest.raises(OptionError, match="s3://bkt/out/a.bsm.json: already exists"):
        batch().separate(A, quiet)
    bucket().rm_file(DONE[2])
    assert batch("skip").separate(A, quiet).written == [Path("s3://bkt/out/a_vocals.wav")]
    assert batch("skip", format="flac").separate(A, quiet).stems["vocals"].suffix == ".flac"
    assert batch("skip").separate(A, quiet).written == []  # the marker still knows those of before


def test_stems_without_a_marker_are_made_again(s3, tmp_path):
    upload(tmp_path, "a.wav")
    bucket().pipe_file(DONE[2], b"half of a run")
    with pytest.raises(OptionError, match="a_vocals.wav: already exists"):
        batch().separate(A, quiet)
    assert DONE[0] not in objects()
    assert len(batch("skip").separate(A, quiet).written) == 2
    assert bucket().info(DONE[2])["size"] > 1000


def test_an_overwritten_song_has_no_marker_until_all_is_there(s3, tmp_path):
    upload(tmp_path, "a.wav")
    batch().separate(A, quiet)
    s3.fault = lambda request: "503 Slow Down" if "a_vocals" in request["PATH_INFO"] else None
    with pytest.raises(AudioError, match="s3://bkt/out/a_vocals.wav: cannot be written .*tried 4 times"):
        batch("replace").separate(A, quiet)
    s3.fault = lambda request: None
    assert DONE[0] not in objects() and not left()


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Slow Down"])
def test_a_server_that_fails_now_and_then_is_asked_again(s3, tmp_path, monkeypatch, status):
    monkeypatch.setattr(store, "PIECE", 30_000)  # bytes: a song comes in several
    upload(tmp_path, "a.wav")
    batch().separate(A, quiet)
    undisturbed = [samples(bucket().cat_file(name)) for name in DONE[1:]]
    bucket().rm("bkt/out", recursive=True)
    asked: list[object] = []

    def every_third(request):
        asked.append(request)
        return None if len(asked) % 3 else status

    s3.fault = every_third
    batch().separate(A, quiet)
    s3.fault = lambda request: None
    assert [samples(bucket().cat_file(name)) for name in DONE[1:]] == undisturbed and len(asked) > 10


def test_what_another_try_does_not_change_is_not_tried(s3, tmp_path):
    with pytest.raises(AudioError, match="s3://bkt/in/a.wav: there is no such object"):
        batch().separate(A, quiet)
    upload(tmp_path, "a.wav")
    s3.fault = lambda request: "403 Forbidden" if "/in/" in request["PATH_INFO"] else None
    s3.requests.clear()
    with pytest.raises(AudioError, match="s3://bkt/in/a.wav: cannot be read"):
        batch().separate(A, quiet)
    assert sum("/in/" in path for _, path in s3.requests) == 1 and not left()


def test_a_song_larger_than_the_disk_is_not_begun(s3, tmp_path, monkeypatch):
    upload(tmp_path, "a.wav")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=store.SPARE + 1000))
    s3.requests.clear()
    with pytest.raises(AudioError, match="more than fit on the disk"):
        batch().separate(A, quiet)
    assert ("GET", "/bkt/in/a.wav") not in s3.requests and not left()


def test_a_song_that_is_replaced_while_it_is_fetched_fails(s3, tmp_path, monkeypatch):
    upload(tmp_path, "a.wav")
    piece = store._piece

    def replacing(path, start, end):
        data = piece(path, start, end)
        bucket().pipe_file("bkt/in/a.wav", data[::-1])
        return data

    monkeypatch.setattr(store, "_piece", replacing)
    with pytest.raises(AudioError, match="was replaced while it was fetched"):
        batch().separate(A, quiet)


def test_an_error_in_a_song_names_its_address(s3):
    bucket().pipe_file("bkt/in/a.wav", b"no song")
    with pytest.raises(AudioError, match="^s3://bkt/in/a.wav: cannot be read as audio"):
        batch().separate(A, quiet)
    assert objects() == ["bkt/in/a.wav"] and not left()


def test_names_that_lead_elsewhere_are_refused(s3, run, capsys):
    for name in ("good.wav", "../../up.wav", "x//double.wav", "./dot.wav"):
        s3_client().put_object(Bucket="bkt", Key=f"in/{name}", Body=b"x")
    found = find_songs([Path("s3://bkt/in")], True, Path("out"))
    assert [str(song.name) for song in found.songs] == ["good"]
    assert len(found.unreadable) == 3 and all("no file can have this name" in line for line in found.unreadable)
    assert run("s3://bkt/../c/a.wav") == 2 and run("s3://") == 2
    assert all("must be like s3://BUCKET/FOLDER" in line for line in capsys.readouterr().err.splitlines())


def s3_client():
    """botocore's own: fsspec would tidy the names up."""
    import botocore.session

    return botocore.session.get_session().create_client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 2, "files": {}}', b'{"version": 1, "files": {"../x_vocals.wav": 3}}']
)
def test_a_marker_that_is_none_is_told(s3, content):
    bucket().pipe_file(DONE[0], content)
    with pytest.raises(AudioError, match="a.bsm.json: does not say which stems are there"):
        batch("skip").separate(A, quiet)


def test_a_stem_never_replaces_a_song(s3, tmp_path):
    upload(tmp_path, "a.wav")
    bucket().pipe_file("bkt/out/a_vocals.wav", b"a song")
    songs = frozenset({Path("s3://bkt/out/a_vocals.wav")})
    with pytest.raises(OptionError, match="s3://bkt/out/a_vocals.wav: is one of the songs"):
        batch("replace", songs=songs).separate(A, quiet)
    assert bucket().cat_file("bkt/out/a_vocals.wav") == b"a song"


def test_killed_workers_leave_neither_stems_nor_files(s3, tmp_path):
    """A process of this machine that dies with a song; another takes it."""
    upload(tmp_path, "a.wav", samples=200_000)
    poison(tmp_path / "p.wav")
    bucket().put_file(str(tmp_path / "p.wav"), "bkt/in/p.wav")
    job = Job(tmp_path / "x.onnx", Settings(Path("s3://bkt/out"), ["vocals", "instrumental"]), {"seconds": 0.02})
    tasks = [Task(1, NamedSong(Path("s3://bkt/in/p.wav"), Path("p"))), Task(2, A)]
    events = []
    for event in LocalProcesses(job, 2, opened).run(iter(tasks)):
        events.append(event)
    results = {event.task.number: event for event in events if isinstance(event, Finished)}
    assert results[1].tries == 3 and "s3://bkt/in/p.wav: its process died 3 times" in results[1].result.reason
    assert sum(isinstance(event, Retried) for event in events) == 2
    assert [name for name in objects() if "/out/" in name] == DONE
    batch("replace").separate(A, quiet)  # the next song of any run removes what is left
    assert not left()
