"""How many cores this process may use, and how many of them other programs use. Imports nothing heavy."""

import os
import time
from collections.abc import MutableMapping
from math import ceil
from pathlib import Path
from typing import NamedTuple

SHORTEST_S = 1.0
"""Least time in which others' use of the cores is measured; the system counts in hundredths of a second."""
IDLE = (3, 4)
"""Columns of a core's line in /proc/stat in which it did nothing: idle and iowait, proc(5)."""
ROUND_UP = 0.4
"""A core of which others use no more than this counts as free."""


class _Used(NamedTuple):
    """Seconds of a clock, of all programs on our cores, and of this process."""

    wall_s: float
    all_s: float
    own_s: float


_begin: _Used | None = None
"""When `prepare_threads` was called."""


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
    itself is kept. From now on `busy_cores` measures other programs.

    Args:
        environment: Of the process.
        root: See `available_cores`.
    """
    global _begin
    _begin = _used(root)
    if _quota(root) is not None:
        environment.setdefault("OMP_NUM_THREADS", str(available_cores(root)))


def busy_cores(root: Path = Path("/")) -> float | None:
    """How many of this process's cores other programs have used since `prepare_threads`, a mean over that time.

    Returns:
        0 or more; None where the system does not tell, or since less than a second.
    """
    now = _used(root)
    if _begin is None or now is None or now.wall_s - _begin.wall_s < SHORTEST_S:
        return None
    others_s = now.all_s - _begin.all_s - (now.own_s - _begin.own_s)
    return max(0.0, others_s / (now.wall_s - _begin.wall_s))


def free_threads(busy: float, cores: int) -> int:
    """How many threads have a core of their own where other programs use some.

    Threads wait for the slowest of them at the end of each operation, so one that shares its core slows all down.

    Args:
        busy: Cores that others use.
        cores: All of them.

    Returns:
        From 1 to the number of cores.
    """
    return min(cores, max(1, int(cores - busy + ROUND_UP)))


def _used(root: Path) -> _Used | None:
    """What was used until now; None where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    lines = [line.split() for line in _read(root / "proc/stat").splitlines()]
    ticks = [
        int(value)
        for name, *values in filter(None, lines)
        if name in names
        for column, value in enumerate(values[:8])  # the two behind are counted in the first two as well
        if column not in IDLE
    ]
    own = os.times()
    return _Used(time.monotonic(), sum(ticks) / os.sysconf("SC_CLK_TCK"), own.user + own.system) if ticks else None


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
