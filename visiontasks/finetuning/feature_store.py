"""Rows of cached features: files that are read and written row by row, each row with its checksum."""

import json
import os
import shutil
from collections.abc import Mapping
from errno import EINVAL, ENOSPC, EOPNOTSUPP
from io import FileIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

KINDS, CHECKSUMS = "kinds.json", "checksums"
Kind = tuple[str, list[int], list[int]]
"""Type, shape and strides of a row."""

_ZEROS = bytes(2**20)


class View:
    """Rows of a split under one augmentation, in files that are read and written row by row.

    Not by memory mapping, where a full disk or a file that was cut would end the process without a message. A row
    counts only with its checksum, so that a half-written or damaged row is never used.

    Args:
        folder: The files; made by `create`.
        size: Samples of the split, n.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self.damage = ""
        """What is wrong with the files that were found; damaged rows count as missing."""
        self._kinds: dict[str, Kind] = {}
        self._files: dict[str, FileIO] = {}
        self._place = 0
        """Checksum of the folder and of the rows' kinds, with which every row's checksum starts."""
        self._checksums = np.zeros(size, dtype=np.uint32)
        """As in the file; 0 for a row that is missing."""
        if os.path.lexists(folder):
            try:
                self._open()
            except (OSError, ValueError) as error:
                self.close()
                self.damage = str(error)

    def __del__(self) -> None:
        self.close()

    @property
    def is_created(self) -> bool:
        """Whether it has files."""
        return bool(self._kinds)

    @property
    def is_complete(self) -> bool:
        """Whether every sample has its row."""
        return bool(self._checksums.all())

    def missing(self) -> list[int]:
        """Samples without a row."""
        return [int(row) for row in np.flatnonzero(self._checksums == 0)]

    def create(self, entries: Mapping[str, Tensor]) -> None:
        """Make the files for entries (B, ...) by name, of which only the kind of a row is used.

        All space is allocated at once. Damaged files are replaced.

        Raises:
            OSError: If the disk is full, or the folder cannot be written; no files are left then.
        """
        kinds = {name: _kind(value) for name, value in entries.items()}
        self.close()
        try:
            _clear(self.folder)
            self.folder.mkdir()
            for name, kind in kinds.items():
                _reserve(self.folder / name, self.size * _kind_bytes(kind))
            _reserve(self.folder / CHECKSUMS, self._checksums.nbytes)
            (self.folder / KINDS).write_text(json.dumps({"kinds": kinds, "checksum": _kinds_checksum(kinds)}))
            self._open()
        except BaseException:
            self.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def write(self, index: Tensor, entries: Mapping[str, Tensor]) -> None:
        """Write rows; those that are stored already remain.

        Args:
            index: Which samples, (B,).
            entries: Tensors (B, ...) by name.

        Raises:
            OSError: If a row cannot be written; it is missing then.
        """
        values = {name: self._packed(name, value) for name, value in entries.items()}
        for i, row in enumerate(index.tolist()):
            if self._checksums[row]:
                continue
            parts = {name: value[i].data for name, value in values.items()}
            for name, part in parts.items():
                _write(self._files[name], part, row * part.nbytes)
            checksum = np.array([self._checksum(row, parts)], dtype=np.uint32)
            _write(self._files[CHECKSUMS], checksum.data.cast("B"), row * checksum.nbytes)
            self._checksums[row] = checksum[0]

    def rows(self, index: Tensor) -> dict[str, Tensor] | None:
        """Rows by name, also in the memory layout they were written from, on which last digits of a result depend.

        Args:
            index: Which samples, (B,).

        Returns:
            Tensors (B, ...) on the CPU; None if a row is missing, or was damaged since the files were opened.
        """
        # torch's own memory, whose alignment kernels may depend on
        read = {
            name: torch.empty(len(index), _kind_bytes(kind), dtype=torch.uint8) for name, kind in self._kinds.items()
        }
        arrays = {name: value.numpy() for name, value in read.items()}
        for i, row in enumerate(index.tolist()):
            if not self._read(row, {name: array[i].data for name, array in arrays.items()}):
                self._checksums[row] = 0
        if not self._checksums[index.numpy(force=True)].all():
            return None
        return {name: self._shaped(name, value.view(_dtype(self._kinds[name]))) for name, value in read.items()}

    def close(self) -> None:
        """Close the files; all rows count as missing."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._kinds.clear()
        self._checksums[:] = 0

    def _open(self) -> None:
        kinds = _read_kinds(self.folder / KINDS)
        sizes = {name: _kind_bytes(kind) * self.size for name, kind in kinds.items()}
        for name, nbytes in {**sizes, CHECKSUMS: self._checksums.nbytes}.items():
            file = self._files[name] = FileIO(self.folder / name, "r+")
            if os.fstat(file.fileno()).st_size != nbytes:
                raise ValueError(f"{name} has {os.fstat(file.fileno()).st_size} bytes, expected {nbytes}")
        self._kinds = kinds
        self._place = crc32(f"{self.folder.parent.name} {self.folder.name}".encode(), _kinds_checksum(kinds))
        self._files[CHECKSUMS].readinto(self._checksums.data.cast("B"))
        buffers = {name: memoryview(bytearray(_kind_bytes(kind))) for name, kind in kinds.items()}
        damaged = [int(row) for row in np.flatnonzero(self._checksums) if not self._read(int(row), buffers)]
        self._checksums[damaged] = 0
        if damaged:
            self.damage = f"{len(damaged)} of {self.size} rows are damaged"

    def _read(self, row: int, parts: Mapping[str, memoryview]) -> bool:
        """Read a row into buffers by name; False if its checksum differs."""
        try:
            for name, part in parts.items():
                if os.preadv(self._files[name].fileno(), [part], row * part.nbytes) != part.nbytes:
                    return False
        except OSError:
            return False
        return bool(self._checksums[row] == self._checksum(row, parts))

    def _packed(self, name: str, value: Tensor) -> Any:
        """An entry (B, ...) as the bytes of its rows, (B, bytes), in the layout of the files."""
        kind = self._kinds[name]
        rows = torch.empty(len(value), int(np.prod(kind[1], dtype=np.int64)), dtype=_dtype(kind))
        self._shaped(name, rows).copy_(value.detach())
        return rows.view(torch.uint8).numpy()

    def _shaped(self, name: str, rows: Tensor) -> Tensor:
        """Rows (B, values) in memory order as an entry (B, ...)."""
        _, shape, strides = self._kinds[name]
        return rows.as_strided((len(rows), *shape), (rows.shape[1], *strides))

    def _checksum(self, row: int, parts: Mapping[str, memoryview]) -> int:
        """Of a row's number and content, so that rows cannot be exchanged; never 0."""
        value = crc32(row.to_bytes(8, "little"), self._place)
        for name in sorted(parts):
            value = crc32(parts[name], value)
        return value or 1


def row_bytes(entries: Mapping[str, Tensor]) -> int:
    """Bytes of one row of entries (B, ...)."""
    return sum(value[0].nbytes for value in entries.values())


def _kind(entry: Tensor) -> Kind:
    """Type, shape and strides of a row of an entry (B, ...), without gaps between its values."""
    row = entry[:1].clone()
    return str(row.dtype).removeprefix("torch."), list(row.shape[1:]), list(row.stride()[1:])


def _dtype(kind: Kind) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, kind[0])
    return dtype


def _kind_bytes(kind: Kind) -> int:
    return int(np.prod(kind[1], dtype=np.int64)) * _dtype(kind).itemsize


def _kinds_checksum(kinds: Mapping[str, Kind]) -> int:
    return crc32(json.dumps(kinds).encode())


def _read_kinds(path: Path) -> dict[str, Kind]:
    """Read what `View.create` wrote.

    Raises:
        ValueError: If it is something else.
    """
    try:
        content = json.loads(path.read_bytes() if path.is_file() else b"")
        kinds: dict[str, Kind] = content["kinds"]
        is_whole = content["checksum"] == _kinds_checksum(kinds) and all(Path(name).name == name for name in kinds)
    except Exception as error:  # of a file that may hold anything
        raise ValueError(f"{path.name} cannot be read ({error})") from error
    if not is_whole:
        raise ValueError(f"{path.name} was altered")
    return kinds


def _reserve(path: Path, nbytes: int) -> None:
    """Make a file of zeros whose blocks are allocated, where the file system can."""
    with path.open("xb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, nbytes)
                return
            except OSError as error:
                if error.errno not in (EOPNOTSUPP, EINVAL):
                    raise
        for start in range(0, nbytes, len(_ZEROS)):
            file.write(_ZEROS[: nbytes - start])


def _write(file: FileIO, content: memoryview, start: int) -> None:
    if os.pwrite(file.fileno(), content, start) != content.nbytes:
        raise OSError(ENOSPC, os.strerror(ENOSPC), file.name)


def _clear(path: Path) -> None:
    """Remove a folder or file, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
