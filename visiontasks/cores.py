"""How many cores this process may use. Imports nothing heavy."""

import os
from collections.abc import MutableMapping
from math import ceil
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: its CPU affinity, and the quota of its container (cgroup v1 and v2).

    Args:
        root: Of the file system with proc/ and sys/.

    Returns:
        1 or more; a quota of 1.5 cores counts as 2.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return allowed if quota is None else max(1, min(allowed, ceil(quota)))


def prepare_threads(environment: MutableMapping[str, str] = os.environ, root: Path = Path("/")) -> None:
    """Set up libraries' threads for this process and those it starts; call it before torch or numpy is imported.

    Where a container's quota is below its cores, no library starts a thread for each core. What the environment sets
    itself is kept.

    Args:
        environment: Of the process.
        root: See `available_cores`.
    """
    if _quota(root) is not None:
        environment.setdefault("OMP_NUM_THREADS", str(available_cores(root)))


def _quota(root: Path) -> float | None:
    """Cores of processor time that the process's control groups give it at most; None without a limit."""
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        files: tuple[str, ...]
        if not controllers:  # version 2
            folder, files = root / "sys/fs/cgroup", ("cpu.max",)
        elif "cpu" in controllers.split(","):
            folder, files = root / "sys/fs/cgroup/cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        else:
            continue
        own = Path(group.lstrip("/"))
        for part in (
            own,
            *own.parents,
        ):  # a group has no more than those that it is in; inside of a container "." is it
            words = " ".join(_read(folder / part / file) for file in files).split()
            if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]) > 0:
                found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def _read(path: Path) -> str:
    """A file's text; empty where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
