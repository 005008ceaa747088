"""A cache of decoded images in memory, one for all loading processes."""

import mmap
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.outputs.geometry import Size

if sys.platform != "win32":
    import fcntl

GB = 10**9
_FIELDS = 6  # whether it is there, where its pixels begin, height, width, height and width of the file's image
_WORD = np.dtype(np.int64).itemsize
_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


class ImageMemory:
    """Room for images of any size, filled by whichever process decodes one first and read by all.

    Made before the loading processes, which inherit it (fork) or are handed it (spawn). Pages are taken when they are
    written. What does not fit is not stored. A copy, and what is unpickled elsewhere, is empty and stores nothing.

    Args:
        size: Number of images.
        room: Bytes for their pixels; 0 for none.
    """

    def __init__(self, size: int, room: int) -> None:
        self.size = size
        self.room = room if sys.platform != "win32" else 0
        if self.room:
            self._open(_memory_file())
            os.ftruncate(self._file, self._offset + self.room)
            self._map()

    def __del__(self) -> None:
        if self.room and hasattr(self, "_file"):
            os.close(self._file)

    def __reduce__(self) -> Any:
        if not self.room or get_spawning_popen() is None:
            return ImageMemory, (self.size, 0)
        return _joined, (self.size, self.room, DupFd(self._file))

    def __len__(self) -> int:
        """Images that are stored."""
        return int(np.count_nonzero(self._table[:, 0])) if self.room else 0

    def get(self, index: int) -> tuple[UInt8Array, Size] | None:
        """A copy of an image, (H, W, 3), and the size that was stored with it; None if it is missing."""
        if not self.room or not self._table[index, 0]:
            return None
        _, start, height, width, *size = self._table[index].tolist()
        pixels = self._pixels[start : start + height * width * 3]
        return pixels.reshape(height, width, 3).copy(), (size[0], size[1])

    def store(self, index: int, image: UInt8Array, size: Size) -> None:
        """Store an image, if there is room.

        Args:
            index: Which it is.
            image: (H, W, 3).
            size: Height and width to store with it.
        """
        if not self.room or self._used[0] + image.nbytes > self.room or self._table[index, 0]:
            return
        with self._locked():
            start = int(self._used[0])
            if start + image.nbytes > self.room:
                return
            self._used[0] = start + image.nbytes
        self._pixels[start : start + image.nbytes] = image.reshape(-1)
        self._table[index, 1:] = start, *image.shape[:2], *size
        self._table[index, 0] = 1  # last: from now on others read it

    def _open(self, file: int) -> None:
        self._file = file
        self._offset = _WORD * (1 + _FIELDS * self.size)

    def _map(self) -> None:
        shared = np.frombuffer(mmap.mmap(self._file, self._offset + self.room), dtype=np.uint8)
        numbers = shared[: self._offset].view(np.int64)
        self._used = numbers[:1]
        self._table = numbers[1:].reshape(self.size, _FIELDS)
        self._pixels = shared[self._offset :]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Of all locks the one that goes with the process that holds it, should that be killed.
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1)


def available_memory() -> int:
    """Bytes that this process may still take, by the system and a container's limit."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")] if sys.platform == "linux" else [2**63]
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found = [1024 * int(line.split()[1])]
    for limit, usage in _CGROUP_FILES:
        most, used = _text(limit).strip(), _text(usage).strip()
        if most.isdecimal() and used.isdecimal():
            found.append(max(0, int(most) - int(used)))
    return min(found)


def _memory_file() -> int:
    """A file that lies in memory and has no name, so that it ends with the last process that has it open."""
    if hasattr(os, "memfd_create"):  # not in /dev/shm, which in containers often has 64 MB
        return os.memfd_create("visiontasks-images")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _joined(size: int, room: int, file: Any) -> ImageMemory:
    """What another process has made."""
    memory = ImageMemory(size, 0)
    memory.room = room
    memory._open(file.detach())
    memory._map()
    return memory


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
