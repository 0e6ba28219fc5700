"""How much memory processes have used, and how much there is for others like them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from runtime.engine.cgroups import groups_of, text_of

ROOT = Path("/")


def peak_memory(process: int | None = None) -> int | None:
    """Peak memory of a process (None: this one) in bytes, including Python itself; None if the system does not tell."""
    status = text_of(Path(f"/proc/{process or 'self'}/status"))
    if status:
        return _kilobytes(status, "VmHWM")
    if process is not None:
        return None
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that processes may still take, of the machine and of the cgroups of this one; None if not known here."""
    machine = _kilobytes(text_of(root / "proc/meminfo"), "MemAvailable")
    return None if machine is None else max(0, min([machine, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[int]:
    for version, folder in groups_of("memory", root):
        names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        limit, used = (text_of(folder / name).strip() for name in names)
        if limit.isdigit() and used.isdigit():  # no limit is "max"
            cached = re.search(r"^(?:total_)?inactive_file (\d+)$", text_of(folder / "memory.stat"), re.M)
            yield int(limit) - int(used) + (int(cached[1]) if cached else 0)


def _kilobytes(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.M)
    return int(found[1]) * 1024 if found else None
