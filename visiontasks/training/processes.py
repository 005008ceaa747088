"""Several processes: when one of them ends before its time, it is said which and how, and the others end with it."""

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

import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from visiontasks.errors import InputError, Stopped

EXIT_STATUS = 2
POLL_S = 0.2
GRACE_S = 2.0
"""What the process that is ended by another has for saying it better."""
LAST_WAIT_S = 10.0
PARENT = "VISIONTASKS_PARENT"
LOST = re.compile(r"gloo|NCCL|connection (was )?(likely )?(closed|reset)|broken pipe", re.IGNORECASE)


@contextmanager
def together(trainer: Trainer, hint: Callable[[], str]) -> Iterator[None]:
    """Let no process of a training or an evaluation outlive another, and say once what ended it.

    Under torchrun and SLURM these end the other processes; here they only say that the connection is lost.

    Args:
        trainer: Has not launched its processes yet, or is one of them.
        hint: Says what can be done after a process has died; may be empty.

    Raises:
        InputError: If another process has ended.
    """
    launcher = _watch(trainer, hint)
    if trainer.global_rank:
        _watch_parent()
    try:
        yield
    except Stopped:
        if launcher:
            launcher.said = True
            launcher.kill(signal.SIGTERM)
        raise
    except Exception as error:
        is_lost = trainer.world_size > 1 and is_lost_connection(error)
        message = (
            f"process {trainer.global_rank} of {trainer.world_size} (counted from 0) lost the connection to another "
            f"one, which has ended or cannot be reached: see what it and its launcher said\n{hint()}"
        )
        if trainer.global_rank and is_lost and PARENT not in os.environ:  # those behind this one wait for its end
            _end(message if trainer.local_rank == 0 else "")
        if trainer.global_rank:  # the first process may have found the same, or what is behind it, and ends this one
            time.sleep(3 * GRACE_S if is_lost else GRACE_S)
        if launcher:
            launcher.said = True
            message = (launcher.find_ended(GRACE_S) if is_lost else "") or message
            launcher.kill(signal.SIGKILL)
        if not is_lost:
            raise
        raise InputError(message) from error


class Launcher(_SubprocessScriptLauncher):
    """Starts the other processes of this machine, and watches them.

    Lightning's own watch kills all processes, itself included, without a word.

    Args:
        former: Lightning's.
        hint: See `together`.
    """

    def __init__(self, former: _SubprocessScriptLauncher, hint: Callable[[], str]) -> None:
        super().__init__(former.cluster_environment, former.num_processes, former.num_nodes)
        self.hint = hint
        self.said = False
        self.children: list[subprocess.Popen[Any]] = []

    def kill(self, signum: int) -> None:
        """Send a signal to the others."""
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signum)

    def find_ended(self, wait_s: float) -> str:
        """How another process has ended, if within some seconds one has; else empty."""
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            for rank, child in enumerate(self.children, 1):
                if child.poll():
                    return f"{describe_end(rank, self.num_processes, child.pid, child.returncode)}\n{self.hint()}"
            time.sleep(POLL_S / 10)
        return ""

    def _call_children_scripts(self) -> None:
        os.environ[PARENT] = str(os.getpid())
        super()._call_children_scripts()
        del os.environ[PARENT]  # of the children alone
        self.children, self.procs = self.procs, []  # Lightning's watch now has nothing to watch
        threading.Thread(target=self._watch_children, name="watch-processes", daemon=True).start()
        atexit.register(self._wait)

    def _watch_children(self) -> None:
        """End everything when a child has, also where this process waits for it in a call that never returns."""
        message = ""
        while not message:
            message = self.find_ended(POLL_S)
            time.sleep(POLL_S)
        time.sleep(2 * GRACE_S)  # usually the main thread has an exception and says it
        self.kill(signal.SIGKILL)
        if self.said:
            time.sleep(GRACE_S)
        _end("" if self.said else message)

    def _wait(self) -> None:
        until = time.monotonic() + LAST_WAIT_S
        while time.monotonic() < until and any(child.poll() is None for child in self.children):
            time.sleep(POLL_S / 10)
        self.kill(signal.SIGKILL)


def describe_end(rank: int, num_processes: int, pid: int, returncode: int) -> str:
    """How a process ended, from what `subprocess` says of it."""
    who = f"process {rank} of {num_processes} (counted from 0, pid {pid})"
    if returncode > 0:
        return f"{who} ended with exit status {returncode}, see what it said above; the others were ended too"
    out_of_memory = ", as the system does when memory runs out" if -returncode == signal.SIGKILL else ""
    name = signal.Signals(-returncode).name
    return f"{who} was ended by signal {-returncode} ({name}){out_of_memory}; the others were ended too"


def is_lost_connection(error: Exception) -> bool:
    """Whether another process cannot be reached any more, by what torch and its backends say then."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and bool(LOST.search(str(error))))


def _watch(trainer: Trainer, hint: Callable[[], str]) -> Launcher | None:
    """Put our launcher in the place of Lightning's, if that is what starts the processes and this is the first."""
    launcher = trainer.strategy.launcher
    if type(launcher) is _SubprocessScriptLauncher and trainer.local_rank == 0:
        environment = launcher.cluster_environment
        if not environment.creates_processes_externally:
            launcher = trainer.strategy._launcher = Launcher(launcher, hint)
    return launcher if isinstance(launcher, Launcher) else None


def _watch_parent() -> None:
    """End this process when the one that started it is gone."""
    parent = int(os.environ.get(PARENT, os.getppid()))
    message = (
        f"the process that started this one (pid {parent}) has ended without a word, as when it is killed or memory "
        "runs out; the others end too\nto go on from the last checkpoint, if there is one: --resume RUN"
    )
    speaks = os.environ.get("LOCAL_RANK") == "1"

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        _end(message if speaks else "")

    if not any(thread.name == "watch-parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def _end(message: str) -> None:
    """End at once, whatever the main thread waits for."""
    if message:
        print(f"error: {message.strip()}", file=sys.stderr, flush=True)
    os._exit(EXIT_STATUS)
