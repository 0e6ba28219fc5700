"""The cgroups of this process, versions 1 and 2, whose limits a container or a batch system sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def groups_of(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """The version (1 or 2) and folder of each cgroup of this process with this controller, and of those around it.

    `root` holds the system's files. Folders may not exist.
    """
    mounts = root / "sys/fs/cgroup"
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)  # such as "4:cpu,cpuacct:/a/b", or "0::/a/b" of version 2
        if not controllers:
            yield from ((2, folder) for folder in _folders(mounts, group))
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((mounts / controller, mounts / controllers)):
                yield from ((1, folder) for folder in _folders(mount, group))


def _folders(mount: Path, group: str) -> list[Path]:
    """Of a cgroup and those around it, each of which may have a limit.

    In a container the group may be named as the host sees it, while `mount` is the container's own group.
    """
    inside = PurePosixPath(group.lstrip("/"))
    return [mount / each for each in (inside, *inside.parents) if ".." not in each.parts]


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
