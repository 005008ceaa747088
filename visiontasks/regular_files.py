"""A check before files are read: opening a named pipe waits for its writer, and a device may never end."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from visiontasks.errors import InputError

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_regular(path: str | os.PathLike[str]) -> None:
    """Check that a path is not a pipe, socket or device; links are followed.

    A missing or unreadable file passes: opening it raises the right error.

    Raises:
        InputError: If it is one of them.
    """
    try:
        kind = _KINDS.get(stat.S_IFMT(Path(path).stat().st_mode))
    except (OSError, ValueError):
        return
    if kind is not None:
        raise InputError(f"{os.fspath(path)}: {kind}, expected a regular file; remove it, or name a file")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: If it is not a JSON file.
    """
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
