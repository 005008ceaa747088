"""Loading processes hand their batches over in /dev/shm: room for that, and an end instead of a wait where it fails."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from visiontasks.errors import InputError

FOLDER = Path("/dev/shm")
PREFETCHED = 2
"""Batches that a DataLoader lets each process prepare."""
MB = 10**6
IN_MAIN_PROCESS = "--data.num_workers 0"
WAY_OUT = f"load in the main process ({IN_MAIN_PROCESS})"
ENLARGE = "or give more shared memory (a container: docker run --shm-size 2g)"
LOST = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\) (?P<how>.*)", re.DOTALL)


class LoadingProcessError(InputError):
    """A loading process cannot be started, cannot hand over its batches, or ended before its time."""


def free_bytes() -> int:
    """Free bytes of /dev/shm.

    Raises:
        OSError: If it is missing.
    """
    room = os.statvfs(FOLDER)
    return room.f_bavail * room.f_frsize


def check_room(num_workers: int, *, batch_size: int, num_samples: int, sample_bytes: int) -> None:
    """Refuse loading processes whose batches cannot all lie in shared memory.

    Args:
        num_workers: Loading processes.
        batch_size: Samples in a batch.
        num_samples: Samples of the split, of which no more than all can be there.
        sample_bytes: Size of a sample, at least.

    Raises:
        LoadingProcessError: If there is too little room, or no shared memory.
    """
    if not num_workers or sys.platform != "linux":
        return
    try:
        free = free_bytes()
    except OSError as error:
        raise LoadingProcessError(unusable(error)) from error
    needed = min(num_workers * PREFETCHED * batch_size, num_samples) * sample_bytes
    if free < needed:
        raise LoadingProcessError(
            f"data.init_args.num_workers: {num_workers} loading processes prepare up to {PREFETCHED} batches each, "
            f"{needed / MB:.1f} MB in {FOLDER}, which has {free / MB:.1f} MB free: {WAY_OUT}, make "
            f"data.init_args.batch_size smaller, {ENLARGE}"
        )


def unusable(error: Exception) -> str:
    """The message where shared memory cannot be had."""
    return f"loading processes cannot use shared memory ({FOLDER}): {error}; {WAY_OUT}, {ENLARGE}"


def share(tensors: Iterable[Tensor]) -> None:
    """Move the tensors of a batch into shared memory, in a loading process.

    Left to the thread that sends the batch, a failure would only be printed, and the batch waited for forever.

    Raises:
        LoadingProcessError: If there is no room.
    """
    try:
        for tensor in tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:
        raise LoadingProcessError(unusable(error)) from error


def describe_lost_worker(error: BaseException) -> str:
    """Explain a DataLoader's error about a loading process that ended; empty for any other error."""
    message = str(error)
    if isinstance(error, ConnectionError | EOFError) and not message.startswith("Caught "):  # which a worker has raised
        return f"the connection to a loading process was lost ({message or 'it has ended'}): {WAY_OUT}"
    if message.startswith("Too many open files") or "items of ancdata" in message:
        return f"too many open files (ulimit -n) for the batches of loading processes: {WAY_OUT}, or raise the limit"
    found = LOST.match(str(error.__cause__)) or LOST.match(message)  # the first names the signal
    if found is None:
        return ""
    reason = _reason(found["how"])
    return f"a loading process (pid {found['pids']}) {reason}: {WAY_OUT}, or use fewer of them"


def _reason(how: str) -> str:
    if "Bus error" in how:
        return f"was ended by SIGBUS, as when shared memory ({FOLDER}) or a disk is full"
    if "Killed" in how:
        return "was ended by SIGKILL, as the system does when memory runs out"
    return how.partition(". Details")[0].strip().rstrip(".")
