"""Finding image files in class folders, and the cores to read them with."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from visiontasks.errors import InputError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2"}
)
"""What counts as an image, in upper or lower case."""

SIDECAR_SUFFIXES = frozenset({".txt", ".xml", ".json", ".csv", ".md", ".yaml", ".yml"})
SIDECAR_NAMES = frozenset({"thumbs.db", "desktop.ini", "license", "readme"})
"""What may lie beside images and is passed over, as hidden files are. Any other file is an error."""

_MOST_LISTED = 20


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts class2 before class10 and does not heed case, as file managers do."""
    runs = re.findall(r"(\d+)|(\D+)", name.casefold())
    return [(0, int(digits), "") if digits else (1, 0, text) for digits, text in runs], name


def visible_entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, without hidden files and folders.

    Raises:
        InputError: If it may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError as error:
        raise InputError(f"{folder}: may not be read ({error.strerror}); change its permissions") from error


def class_folders(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, in natural order."""
    return sorted((entry.name for entry in visible_entries(folder) if entry.is_dir()), key=natural_key)


def image_files(folders: Iterable[Path]) -> list[list[str]]:
    """The image files in each folder and its subfolders, in natural order; links are followed.

    Raises:
        InputError: If there are files that are neither images nor sidecars, with all of their names.
    """
    found: list[list[str]] = []
    foreign: list[str] = []
    for folder in folders:
        images: list[str] = []
        for path in visible_files(folder):
            if is_image(path):
                images.append(path)
            elif not _is_sidecar(path):
                foreign.append(path)
        found.append(sorted(images, key=natural_key))
    if foreign:
        raise InputError(
            f"{len(foreign)} file(s) in folders of images are no images: "
            f"{listed(sorted(foreign, key=natural_key))}; convert or remove them (images: "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}; passed over: hidden files and "
            f"{' '.join(sorted(SIDECAR_SUFFIXES))})"
        )
    return found


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_image(path: str) -> bool:
    """Whether a file's name says that it is an image."""
    return _suffix(path) in IMAGE_SUFFIXES


def listed(names: list[str]) -> str:
    """Names joined by commas, cut off after the first 20."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _is_sidecar(path: str) -> bool:
    return _suffix(path) in SIDECAR_SUFFIXES or Path(path).name.lower() in SIDECAR_NAMES


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()


def visible_files(folder: str | Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """All files in a folder and its subfolders, in any order, without hidden ones; links are followed.

    Args:
        folder: Where to look.
        above: Device and inode of the folders that it was reached through.

    Raises:
        InputError: If a folder may not be read, or is a link to one that it lies in.
    """
    status = Path(folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise InputError(f"{folder}: a link to a folder that contains it; remove the link")
    for entry in visible_entries(folder):
        if entry.is_dir():
            yield from visible_files(entry.path, above | {identity})
        else:
            yield entry.path
