"""Runs a program in a process of its own and says how long it took and how much memory it and its children had."""

import itertools
import os
import re
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.5
POLLS_PER_SHARE = 4  # asking for the proportional share walks all pages, so it is done every 2 s only
LOG_LINES = 30


class ProgramError(RuntimeError):
    """A program ended with another status than 0."""


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Args:
        wall_s: From its start to its end.
        cpu_s: Processor time, user and system, of it and those of its descendants that it waited for. Other work on the
            machine changes it far less than the wall time.
        rss_mib: Largest sum of the resident memory of it and all its descendants, asked for every 0.5 s; 0 where there
            is no /proc. Pages that processes share count in each, so that workers seem to cost more than they do.
        pss_mib: The same of the proportional memory, in which a page that n processes share counts 1/n in each; asked
            for every 2 s.
    """

    wall_s: float
    cpu_s: float
    rss_mib: float
    pss_mib: float


def measure(
    command: Sequence[object],
    *,
    cwd: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    status: int = 0,
) -> Usage:
    """Run a command and wait for it.

    Args:
        command: The program and its arguments.
        cwd: Folder that it runs in.
        log: Gets what it prints.
        environment: Variables beside those of this process.
        status: The exit status that it has to have.

    Raises:
        ProgramError: If it has another one; with the end of what it printed.
    """
    start, cpu_before = time.monotonic(), cpu_of_ended_s()
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        peak = _Peak(process.pid)
        try:
            found = process.wait()
        finally:
            process.kill()  # nothing, unless the wait was interrupted
    wall_s = time.monotonic() - start
    peak.stop()
    if found != status:
        printed = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        raise ProgramError(f"{' '.join(map(str, command))} ended with status {found}, expected {status}:\n{printed}")
    return Usage(wall_s, cpu_of_ended_s() - cpu_before, peak.rss_bytes / 2**20, peak.pss_bytes / 2**20)


class _Peak:
    """Watches the memory of a process tree until it is stopped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.rss_bytes = 0
        self.pss_bytes = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End watching."""
        self.ended.set()
        self.thread.join()

    def _watch(self) -> None:
        for poll in itertools.count():
            tree = list(process_tree(self.pid))
            self.rss_bytes = max(self.rss_bytes, sum(map(rss_bytes, tree)))
            if poll % POLLS_PER_SHARE == 0:
                self.pss_bytes = max(self.pss_bytes, sum(map(pss_bytes, tree)))
            if self.ended.wait(POLL_S):
                return


def cpu_of_ended_s() -> float:
    """Processor time of all processes that this one has waited for, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process_tree(pid: int) -> Iterator[int]:
    """The ids of a process and its descendants."""
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").glob("*"))
    except OSError:  # it has ended just now
        return
    for task in tasks:
        for child in _read(task / "children").split():
            yield from process_tree(int(child))


def rss_bytes(pid: int) -> int:
    """Resident memory of a process in bytes; 0 if it has ended."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def pss_bytes(pid: int) -> int:
    """Proportional memory of a process in bytes; 0 if it has ended."""
    found = re.search(r"^Pss:\s+(\d+) kB", _read(f"/proc/{pid}/smaps_rollup"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _read(path: str | Path) -> str:
    """A file of /proc, empty if its process has ended."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
