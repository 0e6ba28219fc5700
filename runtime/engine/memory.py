"""How much memory this process has used, and how much there is for others like it."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory() -> int | None:
    """Peak memory of this process in bytes, including Python itself; None if the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
