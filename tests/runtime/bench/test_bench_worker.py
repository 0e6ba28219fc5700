"""Contenders in processes of their own: what they answer, how they fail, and that none is left behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from scripted import WORK, Scripted

from runtime.bench.measure import Entry, measure
from runtime.bench.worker import ContenderError, Worker
from runtime.engine.memory import peak_memory

pytestmark = pytest.mark.seconds


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Whether the process ends within seconds."""
    for _ in range(100):
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def open_worker():
    workers = []

    def start(**changes):
        worker = Worker(Scripted("x.onnx", **changes))
        workers.append(worker)
        worker.wait_until_ready()
        return worker

    yield start
    for worker in workers:
        worker.close()


def test_answers_what_it_is_asked(open_worker):
    worker = open_worker(seconds=(0.25, 0.5))
    seconds, executor = worker.call("open")
    assert seconds >= 0 and executor == "script, CPU"
    assert [worker.call("run", WORK), worker.call("run", WORK)] == [0.25, 0.5]
    assert 10**6 < worker.call("peak_memory") < 10**9


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("refuse", "x.onnx: cannot be opened: do something else"),
        ("raise", "x.onnx: ZeroDivisionError: two"),
        ("die", "x.onnx: its process died (exit code 3)"),
    ],
)
def test_failures_are_one_line(open_worker, act, message):
    worker = open_worker(act=act)
    with pytest.raises(ContenderError) as failure:
        worker.call("open")
        worker.call("run", WORK)
    assert str(failure.value) == message
    if act == "die":
        with pytest.raises(ContenderError, match="its process died"):
            worker.call("run", WORK)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes where Linux shows them")
def test_nothing_is_left_behind(open_worker):
    worker = open_worker()
    worker.call("open")
    processes = worker.call("start_child")
    worker.close()
    assert all(map(ends, processes))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes where Linux shows them")
def test_ctrl_c_ends_every_process():
    started = []

    def start(contender):
        started.append(Worker(contender))
        return started[-1]

    def interrupted(seconds):
        raise KeyboardInterrupt

    entries = [Entry(Scripted(name), "engine", "fp32") for name in ("a", "b")]
    with pytest.raises(KeyboardInterrupt):
        measure(entries, rounds=1, warmup=0, start=start, pause=interrupted)
    assert len(started) == 2 and all(ends(worker._process.pid) for worker in started)


def test_memory_of_this_process():
    assert peak_memory() > 10**6
