"""Songs on Ray: each is separated once, whatever becomes of its workers; machines are raylets of this one."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import separator_of
from poison import opened, poison
from songs import files

from runtime.cluster.on_ray import OnRay, ray_executor
from runtime.cluster.work import Failure, Finished, Job, Progress, Retried, Started
from runtime.errors import EngineError, OptionError
from runtime.songs.batch import Batch, Outcome, Settings

RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not RAY, reason="not installed: ray (extra ray)")
pytestmark = [pytest.mark.seconds, pytest.mark.filterwarnings("ignore")]  # Ray's own
TESTS = Path(__file__).parents[2]


class Machines:
    """A cluster of Ray with two CPUs; `join` adds a machine of one."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args=self._node(2) | {"include_dashboard": False})
        self.address = self._cluster.address

    @staticmethod
    def _node(cpus: int) -> dict[str, object]:
        return {"num_cpus": cpus, "object_store_memory": 80 << 20}

    def join(self) -> object:
        return self._cluster.add_node(**self._node(1))

    def leave(self, node: object) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def stop(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "a token of the tests, of some length")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
        started = Machines()
        try:
            yield started
        finally:
            started.stop()


def finished(events: list[object]) -> dict[int, Finished]:
    return {event.task.number: event for event in events if isinstance(event, Finished)}


def undisturbed(job: Job, songs: list, folder: Path) -> None:
    """The same songs in this process."""
    batch = Batch(separator_of(), "x.onnx", replace(job.settings, folder=folder))
    for task in songs:
        batch.separate(task.song, lambda *state: None)


@needs_ray
def test_songs_whose_workers_die_are_tried_again_and_a_poisonous_one_fails(job, tasks, machines, tmp_path, capfd):
    songs = tasks("a", "poison", "x/c", "d", samples=200_000)
    poison(songs[1].song.path)
    executor = OnRay(job(seconds=0.02), machines.address, opener=opened)
    events, killed = [], False
    for event in executor.run(iter(songs)):
        events.append(event)
        if isinstance(event, Progress) and event.task.number == 1 and not killed:
            (worker,) = [each for each in executor._workers if each.task == songs[0]]
            os.kill(worker.place.pid, signal.SIGKILL)
            killed = True
    results = finished(events)
    assert isinstance(results[2].result, Failure) and results[2].result.reason.endswith("its worker died 3 times")
    assert all(isinstance(results[number].result, Outcome) for number in (1, 3, 4))
    assert results[1].tries == 2 and results[3].tries == results[4].tries == 1
    assert [event.tries for event in events if isinstance(event, Retried) and event.task == songs[0]] == [1]
    undisturbed(executor.job, [songs[0], songs[2], songs[3]], tmp_path / "undisturbed")
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")
    for name in files(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    assert capfd.readouterr().out == ""  # Ray's own words are not those of the command


@needs_ray
@pytest.mark.slow
def test_a_machine_that_joins_late_takes_part_and_one_that_leaves_loses_no_song(job, tasks, machines, tmp_path):
    songs = tasks(*(f"s{i}" for i in range(8)), samples=300_000)
    joined = None
    events, workers = [], set()
    for event in OnRay(job(seconds=0.05), machines.address, opener=opened).run(iter(songs)):
        events.append(event)
        if isinstance(event, Started):
            workers.add(event.worker)
            if joined is None:
                joined = machines.join()
            elif len(workers) == 3 and joined:
                machines.leave(joined)
                joined = False
    assert joined is False  # a third worker had begun
    results = finished(events)
    assert len(results) == 8 and all(isinstance(each.result, Outcome) for each in results.values())
    assert len([name for name in files(tmp_path / "out") if not name.startswith(".")]) == 16


@needs_ray
def test_closed_early_nothing_of_the_songs_under_way_is_left(job, tasks, machines, tmp_path):
    songs = tasks("a", "b", samples=44100 * 60)
    running = OnRay(job(seconds=0.05), machines.address, opener=opened).run(iter(songs))
    seen = set()
    for event in running:
        seen |= {event.task.number} if isinstance(event, Progress) and event.done else set()
        if len(seen) == 2:
            break
    assert list(tmp_path.glob("out/.bsm-*"))
    running.close()
    assert not files(tmp_path / "out")


@needs_ray
@pytest.mark.slow
def test_an_engine_that_no_worker_can_open_is_the_error_of_the_run(job, tasks, machines):
    with pytest.raises(EngineError, match=r"x.onnx: is broken$"):
        list(OnRay(job(fails="is broken"), machines.address, most=2, opener=opened).run(iter(tasks("a", "b"))))


CLIENT = """
import sys
from pathlib import Path
from runtime.cluster.on_ray import OnRay
from runtime.cluster.work import Job
from runtime.songs.batch import Settings
try:
    list(OnRay(Job(Path("x.onnx"), Settings(Path("out"), ["vocals"])), sys.argv[1]).run(iter([])))
except Exception as error:
    print(type(error).__name__, error)
"""


WRONG = {"RAY_AUTH_TOKEN": "another token, of some length"}


@needs_ray
@pytest.mark.parametrize("token", [{"HOME": "/none"}, pytest.param(WRONG, marks=pytest.mark.slow)])
def test_who_has_not_the_token_is_refused(machines, token):
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"} | token
    command = [sys.executable, "-c", CLIENT, machines.address]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"EngineError --ray {machines.address}: Ray cannot be reached"), done
    assert done.stdout.count("\n") == 1 and "uthenticat" in done.stdout + done.stderr


DRIVER = """
import sys
from pathlib import Path
from poison import opened
from runtime.cluster.on_ray import OnRay
from runtime.cluster.work import Job, Progress, Task
from runtime.songs.batch import Settings
from runtime.songs.inputs import NamedSong

job = Job(Path("x.onnx"), Settings(Path("out").absolute(), ["vocals"]), {"seconds": 0.05})
executor = OnRay(job, most=1, opener=opened)
for event in executor.run(iter([Task(1, NamedSong(Path("in/a.wav").absolute(), Path("a")))])):
    if isinstance(event, Progress):
        print(executor._workers[0].place.pid, flush=True)
"""


@needs_ray
@pytest.mark.slow
def test_the_ray_of_a_killed_driver_ends(tasks, tmp_path):
    tasks("a", samples=44100 * 60)
    search = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, "-c", DRIVER]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment | {"PYTHONPATH": search}, stdout=subprocess.PIPE, text=True
    ) as driver:
        worker = int(driver.stdout.readline())
        driver.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "a_vocals.wav" not in files(tmp_path / "out")


def test_what_a_worker_needs_follows_from_the_options(tmp_path):
    def needs(device: str, threads: int | None = None, engine: str = "x.onnx") -> tuple[object, ...]:
        options = {"device": device, "threads": threads}
        made = ray_executor("local", tmp_path / engine, options, Settings(tmp_path, ["vocals"]), None)
        return made.job.options["threads"], made._cpus, made._gpus

    assert needs("auto") == needs("cpu") == (1, 1, 0)
    assert needs("cpu", 4) == (4, 4, 0)
    assert needs("cuda") == needs("auto", engine="x.plan") == (1, 1, 1)
    with pytest.raises(OptionError, match="--device cuda:1: Ray chooses the GPU: give --device cuda"):
        needs("cuda:1")


def test_without_ray_the_remedy_is_told(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r"--ray local: Ray is not installed: pip install 'bsmamba2\[ray\]'"):
        list(OnRay(job()).run(iter([])))
