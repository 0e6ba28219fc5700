"""How many threads compute: as many as this process may use, by its affinity and by the quota of its container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.engine import cpu
from runtime.engine.cpu import check_threads, default_threads, usable_cpus
from runtime.errors import OptionError

V2 = "0::"
V1 = "4:cpu,cpuacct:"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Makes files of a system in an empty folder; the process may run on 8 CPUs."""
    monkeypatch.setattr(cpu, "_affinity", lambda: set(range(8)))

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def v1(folder, quota, period=100000):
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, 8),  # no cgroups
        (f"{V2}/", {}, 8),
        (f"{V2}/", {"cpu.max": "max 100000\n"}, 8),
        (f"{V2}/", {"cpu.max": "200000 100000\n"}, 2),
        (f"{V2}/", {"cpu.max": "150000 100000\n"}, 2),  # rounded up
        (f"{V2}/", {"cpu.max": "20000 100000\n"}, 1),  # at least 1
        (f"{V2}/", {"cpu.max": "1600000 100000\n"}, 8),  # more than the affinity
        (f"{V2}/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),  # of the group around it
        (f"{V2}/a/b", {"a/b/cpu.max": "100000 50000\n", "a/cpu.max": "300000 100000\n"}, 2),
        (f"{V2}/docker/0123", {"cpu.max": "400000 100000\n"}, 4),  # named as the host sees it
        (f"{V2}/../other", {"cpu.max": "400000 100000\n"}, 4),
        (f"{V1}/", v1("cpu", -1), 8),
        (f"{V1}/", v1("cpu", 250000), 3),
        (f"{V1}/", v1("cpu,cpuacct", 100000), 1),
        (f"{V1}/a", v1("cpu/a", 50000, 10000), 5),
        (f"{V1}/docker/0123", v1("cpu", 400000), 4),
        (f"{V1}/", v1("cpu", 100000, 0), 8),
        (f"5:memory:/\n{V1}/a\n{V2}/", v1("cpu/a", 200000), 2),  # both versions beside each other
        (f"{V2}/", {"cpu.max": "no numbers\n"}, 8),
    ],
)
def test_a_quota_limits_the_threads(system, groups, files, expected):
    cgroups = {"proc/self/cgroup": f"{groups}\n"} if groups else {}
    root = system({f"sys/fs/cgroup/{name}": text for name, text in files.items()} | cgroups)
    assert (usable_cpus(root), default_threads(root)) == (expected, expected)


def test_hyperthreads_of_a_core_share_a_thread(system, monkeypatch):
    siblings = {n: f"{n % 4},{n % 4 + 4}\n" for n in range(8)}
    root = system({f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": s for n, s in siblings.items()})
    assert (usable_cpus(root), default_threads(root)) == (8, 4)
    monkeypatch.setattr(cpu, "_affinity", lambda: {0, 1, 4})
    assert (usable_cpus(root), default_threads(root)) == (3, 2)


def test_where_the_system_does_not_tell_nothing_is_guessed(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable_cpus(tmp_path) is None and default_threads(tmp_path) is None


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_numbers_that_make_no_sense_are_refused(threads):
    with pytest.raises(OptionError, match=f"^--threads {threads}: must be between 1 and 1024$"):
        check_threads(threads)


@pytest.mark.needs("taskset")
def test_an_affinity_to_one_cpu_gives_one_thread():
    allowed = min(os.sched_getaffinity(0))
    code = "from runtime.engine.cpu import default_threads, usable_cpus; print(usable_cpus(), default_threads())"
    done = subprocess.run(
        ["taskset", "-c", str(allowed), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=True,
    )
    assert done.stdout.split() == ["1", "1"]
