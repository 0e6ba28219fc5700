"""How much memory there is: of the machine, within the limits of containers."""

from __future__ import annotations

import os

import pytest

from runtime.engine.memory import available_memory, peak_memory

KB = 1024


def test_memory_of_this_process_and_of_another():
    assert peak_memory() > 10**6
    assert peak_memory(os.getpid()) == pytest.approx(peak_memory(), rel=0.2)
    assert peak_memory(2**30) is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 1000 * KB),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 1000 * KB),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": "500000\n",
                "sys/fs/cgroup/a/memory.current": "400000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 50000\n",
            },
            150000,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n",
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "300000",
                "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "400000",
            },
            0,
        ),
    ],
)
def test_what_is_left_of_the_machine_and_of_cgroups(tmp_path, files, expected):
    for name, text in ({"proc/meminfo": "MemTotal: 2000 kB\nMemAvailable:    1000 kB\n"} | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_memory(tmp_path) == expected


def test_where_the_system_does_not_tell_it_is_not_known(tmp_path):
    assert available_memory(tmp_path) is None
