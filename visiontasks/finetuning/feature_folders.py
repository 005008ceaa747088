"""Folders of cached features, which several processes make, lock and remove. Imports nothing heavy."""

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from visiontasks.caches import folder_size, own_folder

if sys.platform != "win32":
    import fcntl

LOCK, ABOUT = "lock", "about.json"
LOCK_TIMEOUT_S = 10.0
MOST_TEXT = 200
"""Characters of a text in about.json that are shown."""


@dataclass(frozen=True)
class FeatureFolder:
    """Features of one backbone on one dataset.

    Args:
        path: The folder; its name is the features' fingerprint.
        size: Bytes.
        used: When a training opened it last, seconds since 1970.
        is_in_use: Whether a training has it open now.
        about: What `describe` wrote: data, root, backbone, run; empty for one of an older version.
    """

    path: Path
    size: int
    used: float
    is_in_use: bool
    about: Mapping[str, str]


def features_folder() -> Path:
    """The folder of all features."""
    return own_folder() / "features"


def list_folders() -> list[FeatureFolder]:
    """All features, those used last first.

    Raises:
        OSError: If the folder cannot be read, or another process does not release its lock in time.
    """
    if not features_folder().is_dir():
        return []
    with locked(features_folder()):  # a training that begins must not find a lock that is only tried here
        found = [
            FeatureFolder(path, folder_size(path), path.stat().st_mtime, _is_in_use(path), _read_about(path))
            for path in features_folder().iterdir()
            if is_of_features(path)
        ]
    return sorted(found, key=lambda folder: -folder.used)


def remove_folder(folder: Path) -> int:
    """Remove features that no process uses; call it inside of `locked`.

    Returns:
        Bytes that were removed.
    """
    size = folder_size(folder)
    try:
        with (folder / LOCK).open("w") as lock:
            if not try_lock(lock):
                return 0
            shutil.rmtree(folder)
    except OSError:
        return size - folder_size(folder)
    return size


def describe(folder: Path, about: Mapping[str, str]) -> None:
    """Write whose features a folder has, for `visiontasks cache`.

    Raises:
        OSError: If it cannot be written.
    """
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def is_of_features(path: Path) -> bool:
    """Whether a folder holds features, also half removed ones; a user's own folder does not."""
    return path.is_dir() and (re.fullmatch("[0-9a-f]{32}", path.name) is not None or (path / LOCK).is_file())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock for making and removing folders of features.

    Raises:
        OSError: If the folder cannot be written, or another process does not release the lock in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.{LOCK}").open("w") as lock:
        end = time.monotonic() + LOCK_TIMEOUT_S
        while not try_lock(lock):
            if time.monotonic() > end:
                raise TimeoutError(f"another process holds {lock.name} for more than {LOCK_TIMEOUT_S:g} s")
            time.sleep(0.001)
        yield


def try_lock(file: IO[str]) -> bool:
    """Lock an open file until it is closed; False if another process has locked it.

    Raises:
        OSError: On Windows, which has no such locks.
    """
    if sys.platform == "win32":
        raise OSError("no file locks on Windows")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_in_use(folder: Path) -> bool:
    if not (folder / LOCK).is_file():
        return False
    with (folder / LOCK).open() as lock:
        return not try_lock(lock)


def _read_about(folder: Path) -> dict[str, str]:
    """Its texts by name; empty if it is missing or anything else."""
    try:
        content = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: value[:MOST_TEXT] for name, value in content.items() if isinstance(value, str)}
