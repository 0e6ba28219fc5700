"""Temporary files beside stems: their names tell whose they are, so that those of killed processes can be removed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

OLD = 24 * 3600.0  # s without a write: whoever made it is gone, on whatever machine
# Earlier versions named no owner.
NAME = re.compile(r"\.bsm-(?:([0-9a-f]{12})-([0-9]{1,10})-)?(?:[0-9a-f]{16}(\.part|\.old)|(?<=-)[0-9a-z_]{8})")


def own_prefix() -> str:
    """What the names of this process's temporary files begin with."""
    return f".bsm-{_machine()}-{os.getpid()}-"


def temporary_name(suffix: str) -> str:
    return f"{own_prefix()}{secrets.token_hex(8)}{suffix}"


def sweep(folder: Path) -> int:
    """Remove temporary files from `folder` whose process is gone, or that are old; returns how many.

    A file of another machine is removed only when it is old. Folders inside are not searched.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = NAME.fullmatch(entry.name)
            with suppress(OSError):
                if found is not None and _is_left(entry, found):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        Path(entry.path).unlink()
                    removed += 1
    return removed


def _is_left(entry: os.DirEntry[str], found: re.Match[str]) -> bool:
    state = entry.stat(follow_symlinks=False)
    if found[3] == ".old" and state.st_nlink == 1:  # the only copy of a file that was to be replaced
        return False
    if found[3] is None and found[1] is None:  # no name of ours
        return False
    return (found[1] == _machine() and not _is_alive(int(found[2]))) or time.time() - state.st_mtime > OLD


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # there this signal would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user
        return True
    return True


@cache
def _machine() -> str:
    """Names this machine since it was started, and the container if process numbers are its own."""
    known = [socket.gethostname()]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        known.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]
