"""What a frozen backbone says of each sample, kept in files: computed once, read whenever it is needed again."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = "VISIONTASKS_CACHE"
KINDS, CHECKSUMS, LOCK = "kinds.json", "checksums", "lock"
GB = 10**9
Kind = tuple[str, list[int], list[int]]
"""Type, shape and strides of a row."""


def features_folder() -> Path:
    """Where all features lie: below the folder that VISIONTASKS_CACHE names, or the user's cache."""
    named = os.environ.get(FOLDER)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named or Path(home) / "visiontasks") / "features"


def fingerprint(backbone: nn.Module, modules: Iterable[nn.Module], facts: Iterable[Any]) -> str:
    """A name for what a backbone says: by its structure, weights and buffers, and by all else that decides it.

    Args:
        backbone: The network.
        modules: Those of its modules whose weights and buffers count, each without its children.
        facts: Preprocessing, data, precision, versions: whatever has a `repr` that says all.
    """
    found = hashlib.blake2b(repr(backbone).encode(), digest_size=16)
    for module in modules:
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            found.update(name.encode())
            found.update(tensor.detach().reshape(-1).view(torch.uint8).cpu().numpy().data)
    for fact in facts:
        found.update(repr(fact).encode())
    return found.hexdigest()


class FeatureFiles:
    """Features of one backbone on one dataset: a folder that a single process writes to.

    Args:
        name: See `fingerprint`.
        most_bytes: How large the folder, and all such folders together, may become; the ones that were not used for
            longest are removed.
    """

    def __init__(self, name: str, most_bytes: int) -> None:
        self.folder = features_folder() / name
        self.most_bytes = most_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._views: dict[str, View] = {}
        self._lock: IO[str] = (self.folder / LOCK).open("w")
        self.is_ours = _try_lock(self._lock)
        os.utime(self.folder)

    def view(self, name: str, size: int) -> "View":
        """The rows of a split under one augmentation; its samples number `size`."""
        if name not in self._views:
            self._views[name] = View(self.folder / name, size)
        return self._views[name]

    def has_room(self, more_bytes: int) -> bool:
        """Whether so much more fits, perhaps after others were removed."""
        own = _size(self.folder)
        others = [path for path in self.folder.parent.iterdir() if path.is_dir() and path != self.folder]
        for path in sorted(others, key=lambda path: path.stat().st_mtime):
            if own + more_bytes + sum(map(_size, others)) <= self.most_bytes:
                break
            _remove(path)
        return own + more_bytes <= min(self.most_bytes, own + shutil.disk_usage(self.folder).free)

    def close(self) -> None:
        """Let others write."""
        for view in self._views.values():
            view.flush()
        self._views.clear()
        self._lock.close()


class View:
    """Rows of a split under one augmentation, in memory-mapped files.

    A row counts only with its checksum, so that one that a process or a machine has left half written is not used.

    Args:
        folder: The files; made by `create`.
        size: Samples of the split, n.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self._kinds: dict[str, Kind] = {}
        self._bytes: dict[str, Any] = {}
        self._flat: dict[str, Tensor] = {}
        self._checksums: Any = None
        self._has = np.zeros(size, dtype=np.bool_)
        if (folder / KINDS).is_file():
            self._open(json.loads((folder / KINDS).read_text()))
            written: Any = self._checksums
            self._has = np.array([written[row] == self._checksum(row) for row in range(size)])

    @property
    def is_created(self) -> bool:
        """Whether it has files."""
        return bool(self._kinds)

    @property
    def is_complete(self) -> bool:
        """Whether every sample has its row."""
        return bool(self._has.all())

    def missing(self) -> list[int]:
        """Samples without a row."""
        return [int(row) for row in np.flatnonzero(~self._has)]

    def create(self, entries: Mapping[str, Tensor]) -> None:
        """Make the files for entries (B, ...) by name; only what a row is like is taken from them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kinds = {name: _kind(value) for name, value in entries.items()}
        (self.folder / KINDS).write_text(json.dumps(kinds))
        self._open(kinds)

    def keep(self, index: Tensor, entries: Mapping[str, Tensor]) -> None:
        """Keep rows; those that are there stay as they are.

        Args:
            index: Which samples, (B,).
            entries: Tensors (B, ...) by name.
        """
        values = {name: value.detach().cpu() for name, value in entries.items()}
        kept = {name: self._shaped(name, self._flat[name]) for name in values}
        for i, row in enumerate(index.tolist()):
            if self._has[row]:
                continue
            for name, value in values.items():
                kept[name][row] = value[i]
            self._checksums[row] = self._checksum(row)
            self._has[row] = True

    def rows(self, index: Tensor) -> dict[str, Tensor]:
        """Rows by name, as they were kept, also in their layout in memory, on which last digits of a result depend.

        Args:
            index: Which samples, (B,), all of which have a row.
        """
        where = index.cpu()
        return {name: self._shaped(name, values.index_select(0, where)) for name, values in self._flat.items()}

    def flush(self) -> None:
        """Bring it to the disk."""
        for array in [*self._bytes.values(), *([] if self._checksums is None else [self._checksums])]:
            array.flush()

    def _open(self, kinds: Mapping[str, Kind]) -> None:
        for name, (type_name, shape, _) in kinds.items():
            dtype: torch.dtype = getattr(torch, type_name)
            row_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            self._bytes[name] = _mapped(self.folder / name, (self.size, row_bytes), np.uint8)
            self._flat[name] = torch.from_numpy(self._bytes[name]).view(dtype)
        self._kinds = dict(kinds)
        self._checksums = _mapped(self.folder / CHECKSUMS, (self.size,), np.uint32)

    def _shaped(self, name: str, rows: Tensor) -> Tensor:
        """Rows (B, values) in the order of the memory as the entry (B, ...) that they are."""
        _, shape, strides = self._kinds[name]
        return rows.as_strided((len(rows), *shape), (rows.shape[1], *strides))

    def _checksum(self, row: int) -> int:
        value = 1  # a row of zeros must not look like one that is not there
        for name in sorted(self._bytes):
            value = crc32(self._bytes[name][row].data, value)
        return value or 1


def _kind(entry: Tensor) -> Kind:
    """What a row of an entry (B, ...) is like; one with gaps between its values is kept without them."""
    row = entry[:1].clone()
    return str(row.dtype).removeprefix("torch."), list(row.shape[1:]), list(row.stride()[1:])


def row_bytes(entries: Mapping[str, Tensor]) -> int:
    """Bytes of one row of entries (B, ...)."""
    return sum(value[0].nbytes for value in entries.values())


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> Any:
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    is_there = path.is_file() and path.stat().st_size == nbytes
    return np.memmap(path, dtype=dtype, mode="r+" if is_there else "w+", shape=shape)


def _try_lock(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(folder: Path) -> None:
    """Remove features that nobody is using."""
    with (folder / LOCK).open("w") as lock:
        if _try_lock(lock):
            shutil.rmtree(folder, ignore_errors=True)
