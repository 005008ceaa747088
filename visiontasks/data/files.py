"""Finding image files in class folders."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from visiontasks.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2"})
"""What counts as an image, in upper or lower case."""

SIDECAR_SUFFIXES = frozenset({".txt", ".xml", ".json", ".csv", ".md", ".yaml", ".yml"})
SIDECAR_NAMES = frozenset({"thumbs.db", "desktop.ini", "license", "readme"})
"""What may lie beside images and is passed over; hidden files are too. Anything else is an error."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts class2 before class10."""
    parts = re.findall(r"(\d+)|(\D+)", name)
    return (*((0, int(digits), "") if digits else (1, 0, text) for digits, text in parts), (2, 0, name))


def class_folders(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, in natural order."""
    with os.scandir(folder) as entries:
        return sorted((e.name for e in entries if e.is_dir() and not e.name.startswith(".")), key=natural_key)


def image_files(folder: Path) -> list[str]:
    """Image files in a folder and its subfolders, in natural order, links followed.

    Raises:
        InputError: If there are other files than images and sidecars, listing all of them.
    """
    images: list[str] = []
    foreign: list[str] = []
    for path in _visible_files(folder, frozenset()):
        name = os.path.basename(path).lower()
        suffix = os.path.splitext(name)[1]
        if suffix in IMAGE_SUFFIXES:
            images.append(path)
        elif suffix not in SIDECAR_SUFFIXES and name not in SIDECAR_NAMES:
            foreign.append(path)
    if foreign:
        raise InputError(
            f"{len(foreign)} file(s) in class folders are not images ({', '.join(sorted(IMAGE_SUFFIXES))}): "
            f"{', '.join(sorted(foreign))}; convert or remove them"
        )
    return sorted(images, key=natural_key)


def _visible_files(folder: str | Path, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise InputError(f"{folder}: a link to a folder that contains it; remove the link")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _visible_files(entry.path, above | {identity})
            else:
                yield entry.path
