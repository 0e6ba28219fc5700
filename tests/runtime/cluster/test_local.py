"""Songs on several processes: each is separated once, whatever becomes of the processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
from poison import opened, poison
from songs import files

from runtime.cluster.local import LocalProcesses
from runtime.cluster.work import Failure, Finished, Note, Progress, Retried, Started
from runtime.errors import EngineError
from runtime.songs.batch import Outcome

pytestmark = pytest.mark.seconds


def kinds(events):
    return [type(event) for event in events if not isinstance(event, Progress)]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_song_is_separated_once_and_told_from_start_to_end(job, tasks, tmp_path):
    songs = tasks("a", "b", "x/c")
    events = list(LocalProcesses(job(), 2, opened).run(iter(songs)))
    assert files(tmp_path / "out") == [f"{n}_{s}.flac" for n in ("a", "b", "x/c") for s in ("instrumental", "vocals")]
    for task in songs:
        about = [event for event in events if event.task == task]
        assert isinstance(about[0], Started) and isinstance(about[1], Progress)
        assert (about[1].done, about[1].samples, about[1].sample_rate) == (0, 9000, 44100)
        assert kinds(about) == [Started, Finished]
        assert isinstance(about[-1].result, Outcome) and about[-1].tries == 1
        assert about[-1].result.song == task.song.path and about[-1].result.report.samples == 9000
    assert not multiprocessing.active_children()


def test_a_song_that_fails_does_not_stop_the_others_and_leaves_no_folder(job, tasks, tmp_path):
    songs = tasks("a", "x/b", "c")
    songs[1].song.path.write_text("no song")
    events = list(LocalProcesses(job(), 1, opened).run(iter(songs)))
    results = {event.task.number: event.result for event in events if isinstance(event, Finished)}
    assert isinstance(results[2], Failure) and "b.wav: cannot be read as audio" in results[2].reason
    assert "Traceback" in results[2].details
    assert len(files(tmp_path / "out")) == 4 and not (tmp_path / "out" / "x").exists()


def test_a_killed_worker_costs_its_song_a_try_and_nothing_else(job, tasks, tmp_path):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "out"
    songs = tasks("a", "b", "c", samples=200_000)
    list(LocalProcesses(job(), 1, opened).run(iter(songs)))
    disturbed.rename(undisturbed)
    executor = LocalProcesses(job(seconds=0.01), 2, opened)
    events = []
    for event in executor.run(iter(songs)):
        events.append(event)
        if isinstance(event, Progress) and event.task.number == 1 and Retried not in kinds(events):
            wait_for(lambda: list(disturbed.glob(".bsm-*")))
            (worker,) = [place.worker for place in executor._places if place.worker.task == event.task]
            os.kill(worker.pid, signal.SIGKILL)
    (retried,) = [event for event in events if isinstance(event, Retried)]
    assert (retried.task, retried.tries, retried.reason) == (songs[0], 1, "killed by signal 9 (out of memory?)")
    tries = {event.task.number: event.tries for event in events if isinstance(event, Finished)}
    assert tries == {1: 2, 2: 1, 3: 1}
    assert files(disturbed) == files(undisturbed)
    for name in files(disturbed):
        assert (disturbed / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_song_that_kills_its_workers_fails_and_the_others_are_separated(job, tasks, tmp_path):
    songs = tasks("a", "b", "c", "d")
    poison(songs[1].song.path)
    events = list(LocalProcesses(job(), 2, opened).run(iter(songs)))
    assert kinds(events).count(Retried) == 2
    results = {event.task.number: event for event in events if isinstance(event, Finished)}
    assert results[2].tries == 3
    assert results[2].result.reason.endswith("b.wav: its process died 3 times (killed by signal 9 (out of memory?))")
    assert files(tmp_path / "out") == [f"{n}_{s}.flac" for n in "acd" for s in ("instrumental", "vocals")]


def test_stems_that_a_dead_worker_had_finished_are_kept(job, tasks, tmp_path):
    (song,) = tasks("a")
    list(LocalProcesses(job(), 1, opened).run(iter([song])))
    before = (tmp_path / "out" / "a_vocals.flac").stat().st_mtime_ns
    (tmp_path / "out" / "a_instrumental.flac").unlink()  # it died between the two
    again = type(song)(1, song.song, again=True)
    *_, finished = LocalProcesses(job(), 1, opened).run(iter([again]))
    assert [path.name for path in finished.result.written] == ["a_instrumental.flac"]
    assert (tmp_path / "out" / "a_vocals.flac").stat().st_mtime_ns == before
    *_, finished = LocalProcesses(job(), 1, opened).run(iter([song]))
    assert "already exists" in finished.result.reason


def test_an_engine_that_no_worker_can_open_is_the_error_of_the_run(job, tasks, tmp_path):
    with pytest.raises(EngineError, match=r"x.onnx: is broken$"):
        list(LocalProcesses(job(fails="is broken"), 2, opened).run(iter(tasks("a", "b"))))
    with pytest.raises(EngineError, match=r"x.onnx: the process that opens it dies: killed by signal 9"):
        list(LocalProcesses(job(fails="dies"), 1, opened).run(iter(tasks("a"))))
    assert not (tmp_path / "out").exists() and not multiprocessing.active_children()


def test_songs_that_come_late_are_waited_for(job, tasks):
    first, second = tasks("a", "b")
    events = list(LocalProcesses(job(), 2, opened).run(iter([None, first, None, None, second])))
    assert sum(isinstance(event, Finished) for event in events) == 2
    assert not any(isinstance(event, Note) for event in events)


def test_closed_early_nothing_of_the_songs_under_way_is_left(job, tasks, tmp_path):
    songs = tasks("a", "x/b", samples=44100 * 30)
    running = LocalProcesses(job(seconds=0.05), 2, opened).run(iter(songs))
    seen = set()
    for event in running:
        seen |= {event.task.number} if isinstance(event, Progress) and event.done else set()
        if len(seen) == 2:
            break
    assert list(tmp_path.glob("out/**/.bsm-*"))
    running.close()
    assert not (tmp_path / "out").exists() and not multiprocessing.active_children()


DRIVER = """
import sys
from pathlib import Path
from poison import opened
from runtime.cluster.local import LocalProcesses
from runtime.cluster.work import Job, Task
from runtime.songs.batch import Settings
from runtime.songs.inputs import NamedSong

job = Job(Path("x.onnx"), Settings(Path("out").absolute(), ["vocals"]), {"seconds": 0.05})
songs = [NamedSong(Path(name).absolute(), Path(name).with_suffix("")) for name in sys.argv[1:]]
tasks = [Task(number, song) for number, song in enumerate(songs, 1)]
if __name__ == "__main__":
    for event in LocalProcesses(job, 2, opened).run(iter(tasks)):
        pass
"""


def test_workers_of_a_killed_driver_end_and_leave_nothing(tasks, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]))
    tasks("a", "b", samples=44100 * 60)
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, "driver.py", "in/a.wav", "in/b.wav"], cwd=tmp_path)
    try:
        wait_for(lambda: len(list(tmp_path.glob("out/**/.bsm-*"))) == 2)
        workers = [int(path.name.split("-")[2]) for path in tmp_path.glob("out/**/.bsm-*")]
    finally:
        driver.kill()
        driver.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert files(tmp_path / "out") == []
    assert soundfile.info(tmp_path / "in" / "a.wav").frames == 44100 * 60
