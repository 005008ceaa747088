"""The number of threads of a training: as many as have a core of their own, and the same when it is resumed."""

import os

import torch

from visiontasks.cores import available_cores, busy_cores, free_threads
from visiontasks.units import counted

NAME = "OMP_NUM_THREADS"
RANKS = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
"""Of a process among several, of which each would count the others as other programs."""


def choose_threads() -> str:
    """Use fewer threads where other programs use cores, unless the environment names a number.

    A result's last digits depend on the number, so it is the same for the whole training, and stored.

    Returns:
        What was chosen and why; empty where nothing changes.
    """
    busy, cores = busy_cores(), available_cores()
    if busy is None or any(name in os.environ for name in (NAME, *RANKS)) or torch.accelerator.is_available():
        return ""
    threads = free_threads(busy, cores)
    if threads >= torch.get_num_threads():
        return ""
    _use(threads)
    return (
        f"other programs use {busy:.1f} of {counted(cores, 'core')}, so this training has "
        f"{counted(threads, 'thread')}; {NAME}={cores} uses all, and rounds the last digits otherwise"
    )


def restore_threads(threads: int | None) -> str:
    """Use the number of threads that a training began with, unless the environment names one.

    Args:
        threads: None if unknown.

    Returns:
        A note where the number differs.
    """
    now = torch.get_num_threads()
    if threads is None or threads == now:
        return ""
    if NAME in os.environ:
        return f"the run began with {counted(threads, 'thread')}, this has {now} ({NAME}): the last digits may differ"
    _use(threads)
    return ""


def _use(threads: int) -> None:
    torch.set_num_threads(threads)
    os.environ[NAME] = str(threads)  # of the processes that this one starts
