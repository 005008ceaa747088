"""What a command sets for its process, before torch allocates. Imports nothing heavy; an import changes nothing."""

import atexit
import ctypes
import os
import sys
import threading
from platform import libc_ver
from typing import NoReturn

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
NEVER = -1
OWN_CHOICE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")

_is_kept = False


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep what is freed, for the next step, in this process and in those that it forks.

    By default it gives each large block, such as a layer's activations, back to the system, which clears the pages anew
    in every step. Keeping them makes steps faster, in float32 more than in bfloat16, and the process somewhat larger.
    Huge pages (THP_MEM_ALLOC_ENABLE=1) on top are left out: they take much more memory.

    Nothing is done on other systems, with another allocator, or where the environment sets these values itself.

    Returns:
        Whether it is so now.
    """
    global _is_kept
    if _is_kept or libc_ver()[0] != "glibc" or _is_chosen():
        return _is_kept
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        _is_kept = bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
    return _is_kept


def allocator() -> str:
    """What the plan says of the allocator."""
    return "allocator keeps memory" if _is_kept else "allocator as it is"


def leave(status: int) -> NoReturn:
    """End the process without taking its objects apart, which with torch takes longer than the shortest commands.

    What was registered for the exit is done (loading processes end, temporary files go), and all output is written. As
    long as a thread runs that has to be waited for, the process ends as usual.

    Args:
        status: Exit status.
    """
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        sys.exit(status)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _is_chosen() -> bool:
    """Whether the user has set the allocator up, or another one is loaded in its place."""
    given = os.environ
    tuned = "glibc.malloc" in given.get("GLIBC_TUNABLES", "") or any(name in given for name in OWN_CHOICE)
    return tuned or "alloc" in given.get("LD_PRELOAD", "")
