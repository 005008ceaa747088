"""Several processes: when one of them ends early, its end is reported once, and the others end with it."""

import atexit
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch.distributed as dist
from lightning.pytorch import Trainer

from visiontasks.errors import InputError, Stopped
from visiontasks.library_internals import launch_by

EXIT_STATUS = 2
POLL_S = 0.2
GRACE_S = 2.0
"""Time for a process to report its own error before another one ends it."""
LAST_WAIT_S = 10.0
PARENT = "VISIONTASKS_PARENT"
LOST = re.compile(r"gloo|NCCL|connection (was )?(likely )?(closed|reset)|broken pipe", re.IGNORECASE)

_CHILDREN: "WeakKeyDictionary[Trainer, ChildProcesses]" = WeakKeyDictionary()


@contextmanager
def supervise_processes(trainer: Trainer, hint: Callable[[], str]) -> Iterator[None]:
    """End all processes of a training or an evaluation when one of them ends, and report once why.

    torchrun and SLURM end the other processes themselves; these report only that the connection is lost.

    Args:
        trainer: Has not launched its processes yet, or is one of them.
        hint: Returns what the user can do after a process has died; may be empty.

    Raises:
        InputError: If another process has ended.
    """
    children = _watched(trainer, hint)
    if trainer.global_rank:
        _watch_parent()
    try:
        yield
    except Stopped:
        if children:
            children.is_reported = True
            children.kill(signal.SIGTERM)
        raise
    except Exception as error:
        is_lost = trainer.world_size > 1 and is_lost_connection(error)
        message = (
            f"process {trainer.global_rank} of {trainer.world_size} (counted from 0) lost the connection to another "
            f"one, which has ended or cannot be reached: see its output and its launcher's\n{hint()}"
        )
        if trainer.global_rank and is_lost and PARENT not in os.environ:  # the launcher waits for this process
            _end(message if trainer.local_rank == 0 else "")
        if trainer.global_rank:  # the first process may have found the same error, or its cause, and ends this one
            time.sleep(3 * GRACE_S if is_lost else GRACE_S)
        if children:
            children.is_reported = True
            message = (children.find_ended(GRACE_S) if is_lost else "") or message
            children.kill(signal.SIGKILL)
        if not is_lost:
            raise
        raise InputError(message) from error


class ChildProcesses:
    """The other processes of this machine, watched from their start.

    Args:
        hint: See `supervise_processes`.

    Attributes:
        is_reported: Whether the main thread reports the error.
    """

    def __init__(self, hint: Callable[[], str]) -> None:
        self.hint = hint
        self.is_reported = False
        self.processes: list[subprocess.Popen[Any]] = []

    def start(self, start_processes: Callable[[], list[subprocess.Popen[Any]]]) -> None:
        """Start them, and a thread that ends everything when one of them has ended."""
        os.environ[PARENT] = str(os.getpid())
        self.processes = start_processes()
        del os.environ[PARENT]  # for the children only
        threading.Thread(target=self._watch, name="watch-processes", daemon=True).start()
        atexit.register(self._wait)

    def kill(self, signum: int) -> None:
        """Send a signal to the others."""
        for child in self.processes:
            if child.poll() is None:
                child.send_signal(signum)

    def find_ended(self, wait_s: float) -> str:
        """How another process ended, if one does within some seconds; else empty."""
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            for rank, child in enumerate(self.processes, 1):
                if child.poll():
                    return f"{describe_end(rank, len(self.processes) + 1, child.pid, child.returncode)}\n{self.hint()}"
            time.sleep(POLL_S / 10)
        return ""

    def _watch(self) -> None:
        """End all processes when one has ended, also where this one waits for it in a call that never returns."""
        message = ""
        while not message:
            message = self.find_ended(POLL_S)
            time.sleep(POLL_S)
        time.sleep(2 * GRACE_S)  # usually the main thread gets an exception and reports it
        self.kill(signal.SIGKILL)
        if self.is_reported:
            time.sleep(GRACE_S)
        _end("" if self.is_reported else message)

    def _wait(self) -> None:
        until = time.monotonic() + LAST_WAIT_S
        while time.monotonic() < until and any(child.poll() is None for child in self.processes):
            time.sleep(POLL_S / 10)
        self.kill(signal.SIGKILL)


def describe_end(rank: int, num_processes: int, pid: int, returncode: int) -> str:
    """How a process ended, from its return code."""
    who = f"process {rank} of {num_processes} (counted from 0, pid {pid})"
    if returncode > 0:
        return f"{who} ended with exit status {returncode}, see its output above; the others were ended too"
    out_of_memory = ", as the system does when memory runs out" if -returncode == signal.SIGKILL else ""
    name = signal.Signals(-returncode).name
    return f"{who} was ended by signal {-returncode} ({name}){out_of_memory}; the others were ended too"


def is_lost_connection(error: Exception) -> bool:
    """Whether another process cannot be reached any more, by the messages of torch and its backends."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and bool(LOST.search(str(error))))


def _watched(trainer: Trainer, hint: Callable[[], str]) -> ChildProcesses | None:
    """The processes that this one starts, or started in an earlier training; None without any."""
    children = ChildProcesses(hint)
    if trainer not in _CHILDREN and trainer.local_rank == 0 and launch_by(trainer, children.start):
        _CHILDREN[trainer] = children
    return _CHILDREN.get(trainer)


def _watch_parent() -> None:
    """End this process when the one that started it has ended."""
    parent = int(os.environ.get(PARENT, os.getppid()))
    message = (
        f"the process that started this one (pid {parent}) has ended without a message, as when it is killed or "
        "memory runs out; the others end too\nto resume from the last checkpoint, if one was saved: --resume RUN"
    )
    prints = os.environ.get("LOCAL_RANK") == "1"

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        _end(message if prints else "")

    if not any(thread.name == "watch-parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def _end(message: str) -> None:
    """End at once, even while the main thread waits."""
    if message:
        print(f"error: {message.strip()}", file=sys.stderr, flush=True)
    os._exit(EXIT_STATUS)
