"""How many CPUs this process may use: those it may run on, within the limit that a container sets on their time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from runtime.engine.cgroups import groups_of, text_of
from runtime.errors import OptionError

ROOT = Path("/")
MAX_THREADS = 1024


def usable_cpus(root: Path = ROOT) -> int | None:
    """CPUs of the process's affinity, no more than its cgroups' quota, rounded up; at least 1. None: not known here.

    `root` holds the system's files.
    """
    return None if (cpus := _affinity()) is None else _within_quota(len(cpus), root)


def default_threads(root: Path = ROOT) -> int | None:
    """Threads that compute at a time unless the user says otherwise: as `usable_cpus`, but one per core.

    Hyperthreads of one core share its arithmetic units. ONNX Runtime and PyTorch count cores, too, but those of the
    whole machine, without a quota and the former without the affinity.
    """
    return None if (cpus := _affinity()) is None else _within_quota(len({_core(cpu, root) for cpu in cpus}), root)


def check_threads(threads: int) -> int:
    """Raises OptionError for a number of threads that makes no sense."""
    if not 1 <= threads <= MAX_THREADS:
        raise OptionError(f"--threads {threads}: must be between 1 and {MAX_THREADS}")
    return threads


def _affinity() -> set[int] | None:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def _core(cpu: int, root: Path) -> str:
    """The CPUs of its core, such as "0,8"."""
    siblings = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    return text_of(siblings).strip() or str(cpu)


def _within_quota(count: int, root: Path) -> int:
    return max(1, min([count, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """CPUs that each cgroup of this process may use at a time."""
    for version, folder in groups_of("cpu", root):
        if version == 2:
            yield from _quota(text_of(folder / "cpu.max"))
        else:
            yield from _quota(f"{text_of(folder / 'cpu.cfs_quota_us')} {text_of(folder / 'cpu.cfs_period_us')}")


def _quota(text: str) -> list[float]:
    """Of "QUOTA PERIOD", both in microseconds; none where there is no limit ("max", -1) or no such file."""
    try:
        quota, period = map(int, text.split())
    except ValueError:
        return []
    return [quota / period] if quota > 0 and period > 0 else []
