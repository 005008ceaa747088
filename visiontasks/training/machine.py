"""Process-wide settings: allocator, exit, standard streams, memory errors. Imports nothing heavy, changes nothing."""

import ctypes
import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from platform import libc_ver
from typing import NoReturn

from visiontasks.library_internals import run_exit_functions

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
NEVER = -1
DEFAULTS = {M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 * 1024}
"""Of glibc, mallopt(3)."""
OUT_OF_MEMORY = (
    *("can't allocate memory", "Cannot allocate memory", "cannot allocate memory", "Unable to allocate"),
    *("std::bad_alloc", "out of memory", "not enough memory"),
    *("failed to map segment", "can't start new thread", "Resource temporarily unavailable"),
)
"""In messages of torch, numpy, the C library, the loader of shared libraries and threads when memory runs out."""
OWN_CHOICE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")

_keeps_memory = False


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep freed memory for the next step, in this process and in those that it forks.

    By default it returns each large block, such as a layer's activations, to the system, which clears the pages again
    in every step. Keeping them makes steps faster, in float32 more than in bfloat16, and the process somewhat larger.
    Huge pages (THP_MEM_ALLOC_ENABLE=1) are not used in addition: they take much more memory.

    Nothing is done on other systems, with another allocator, or where the environment sets these values itself.

    Returns:
        Whether freed memory is kept now.
    """
    global _keeps_memory
    if _keeps_memory or libc_ver()[0] != "glibc" or _is_chosen():
        return _keeps_memory
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        _keeps_memory = bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
    return _keeps_memory


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory (`keep_freed_memory`) inside of a `with`, in a process that has other work afterwards.

    Then it is returned to the system, and glibc's defaults are set again, but for its own adaptation of them, which
    mallopt(3) turns off for good.
    """
    was_kept = _keeps_memory
    keep_freed_memory()
    try:
        yield
    finally:
        if not was_kept:
            _return_memory()


def _return_memory() -> None:
    global _keeps_memory
    if _keeps_memory:
        system = ctypes.CDLL(None)
        for option, value in DEFAULTS.items():
            system.mallopt(option, value)
        system.malloc_trim(0)
        _keeps_memory = False


def allocator() -> str:
    """The allocator's setting, for the training's plan."""
    return "allocator keeps memory" if _keeps_memory else "default allocator"


def leave(status: int) -> NoReturn:
    """End the process without destroying its objects, which with torch takes longer than the shortest commands.

    Exit functions run (loading processes end, temporary files are removed), and all output is written. If a thread that
    is not a daemon is running, the process exits normally.

    Args:
        status: Exit status.
    """
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        sys.exit(status)
    run_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a failed write was reported before
            stream.flush()
    os._exit(status)


def open_streams() -> None:
    """Open standard streams that the process was started without, so that no other file gets their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def discard_output() -> None:
    """Discard buffered output after a broken pipe, so that flushing it does not fail again when the process ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, is a lack of memory or threads."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        is_system = isinstance(error, OSError) and error.errno == errno.ENOMEM
        if isinstance(error, MemoryError) or is_system or any(text in str(error) for text in OUT_OF_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def out_of_memory(error: BaseException) -> str:
    """The error's message, on one line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    limit = _address_space()
    room = f"raise the limit of {limit / 1e9:.3g} GB of addresses (ulimit -v)" if limit else "end other programs"
    return f"out of memory ({text[:200]}): {room}, or make the batches, the images or the number of processes smaller"


def _address_space() -> int | None:
    """Limit of the process's address space in bytes; None without a limit."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _is_chosen() -> bool:
    """Whether the user has configured the allocator, or preloads another one."""
    given = os.environ
    tuned = "glibc.malloc" in given.get("GLIBC_TUNABLES", "") or any(name in given for name in OWN_CHOICE)
    return tuned or "alloc" in given.get("LD_PRELOAD", "")
