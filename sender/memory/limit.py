"""Finds out how much memory this process may use: the limit of its container, its own, or the machine's.

https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def memory_limit(root: Path = Path("/")) -> int:
    """The lowest limit in bytes that applies to this process; `root` is where the file system begins.

    Processes of one container share it, except for the process's own limits (RLIMIT_AS, RLIMIT_DATA).
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_own_limits(), *_container_limits(root)])


def _own_limits() -> Iterator[int]:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _container_limits(root: Path) -> Iterator[int]:
    """The limits of the process's control group and of those around it."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            yield from _limits_along(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_along(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")


def _limits_along(mount: Path, path: str, name: str) -> Iterator[int]:
    """The numbers in the file of this name, from the group at the path up to the mount point.

    A container may see its own group at the mount point, under a path that does not exist there.
    """
    group = PurePosixPath(path.lstrip("/"))
    for each in (group, *group.parents):
        text = _read(mount / each / name).strip()
        if re.fullmatch("[0-9]{1,20}", text):  # version 2 says "max" if there is none
            yield int(text)


def _read(path: Path) -> str:
    """The file's text; empty if it can't be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
