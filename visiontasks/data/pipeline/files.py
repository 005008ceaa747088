"""Finding image files in class folders, and the cores to read them with."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from visiontasks.data.pipeline.hidden import hidden_kind, is_hidden
from visiontasks.errors import InputError

_PLUGINS = {"pillow_heif": "register_heif_opener", "pillow_avif": None, "pillow_jxl": None}
"""Packages that teach PIL a format: on import, or by the function that is named."""
_FORMATS = frozenset({"AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "JXL", "PNG", "PPM", "TIFF", "WEBP"})
"""Of photographs and scans. PIL also opens icons, videos and documents, of which it decodes a part or nothing."""
_JPEG_SUFFIXES = frozenset({".jif", ".jfi", ".pjpeg", ".pjp", ".mpo"})
"""Not in PIL's registry; a browser saves .pjpeg."""
_UNREADABLE = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "pip install pillow-heif"),
    **dict.fromkeys((".avif", ".avifs"), "pip install pillow-avif-plugin, or Pillow 11.3 or newer"),
    ".jxl": "pip install pillow-jxl-plugin",
}


def _readable_suffixes() -> frozenset[str]:
    """Suffixes of the formats that PIL reads here, with the plugins that are installed."""
    Image.preinit()  # so that the common formats come first: `Image.open` asks one after the other
    for name, register in _PLUGINS.items():
        if find_spec(name) is not None:
            with suppress(ImportError):  # of a library that it needs: then its suffixes are not registered
                plugin = import_module(name)
                if register is not None:
                    getattr(plugin, register)()
    registered = Image.registered_extensions().items()
    return _JPEG_SUFFIXES | {suffix for suffix, kind in registered if kind in _FORMATS and kind in Image.OPEN}


IMAGE_SUFFIXES = _readable_suffixes()
"""What counts as an image, in upper or lower case."""

SIDECAR_SUFFIXES = frozenset({".txt", ".xml", ".json", ".csv", ".md", ".yaml", ".yml"})
SIDECAR_NAMES = frozenset({"license", "readme"})
"""What may lie beside images and is passed over, as hidden files are. Any other file is an error."""

_MOST_LISTED = 20


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts class2 before class10 and does not heed case, as file managers do."""
    runs = re.findall(r"(\d+)|(\D+)", name.casefold())
    return [(0, int(digits), "") if digits else (1, 0, text) for digits, text in runs], name


def visible_entries(folder: str | Path, hidden: Counter[str] | None = None) -> list[os.DirEntry[str]]:
    """What lies in a folder, without hidden files and folders.

    Args:
        folder: Where to look.
        hidden: Where folders and images that are passed over as hidden are counted, by kind.

    Raises:
        InputError: If it may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except PermissionError as error:
        raise InputError(f"{folder}: may not be read ({error.strerror}); change its permissions") from error
    if hidden is not None:
        hidden.update(hidden_kind(e.name) for e in found if is_hidden(e.name) and (is_image(e.name) or e.is_dir()))
    return [entry for entry in found if not is_hidden(entry.name)]


def class_folders(folder: Path, hidden: Counter[str] | None = None) -> list[str]:
    """Names of the visible folders in a folder, in natural order."""
    return sorted((entry.name for entry in visible_entries(folder, hidden) if entry.is_dir()), key=natural_key)


def named_folder(folder: Path, name: str) -> Path:
    """The folder of a name in another, in whatever case it is written."""
    path = folder / name
    if path.is_dir() or not folder.is_dir():
        return path
    return next((folder / other for other in class_folders(folder) if other.casefold() == name), path)


def image_files(folders: Iterable[Path], hidden: Counter[str] | None = None) -> list[list[str]]:
    """The image files in each folder and its subfolders, in natural order; links are followed.

    Args:
        folders: Where to look.
        hidden: As for `visible_entries`.

    Raises:
        InputError: If there are files that are neither images nor sidecars, with all of their names.
    """
    found: list[list[str]] = []
    foreign: list[str] = []
    for folder in folders:
        images: list[str] = []
        for path in visible_files(folder, hidden):
            if is_image(path):
                images.append(path)
            elif not _is_sidecar(path):
                foreign.append(path)
        found.append(sorted(images, key=natural_key))
    if foreign:
        raise InputError(
            f"{len(foreign)} file(s) in folders of images are not images: "
            f"{listed(sorted(foreign, key=natural_key))}; convert or remove them{plugin_hint(foreign)} (images: "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}; passed over: hidden files and "
            f"{' '.join(sorted(SIDECAR_SUFFIXES))})"
        )
    return found


def plugin_hint(paths: Iterable[str]) -> str:
    """How PIL learns to read files that it does not; empty where that is not known."""
    packages = dict.fromkeys(_UNREADABLE[_suffix(path)] for path in paths if _suffix(path) in _UNREADABLE)
    return "".join(f", or {package}" for package in packages)


def is_image(path: str) -> bool:
    """Whether a file has the name of an image."""
    return _suffix(path) in IMAGE_SUFFIXES


def listed(names: list[str]) -> str:
    """Names joined by commas, cut off after the first 20."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _is_sidecar(path: str) -> bool:
    return _suffix(path) in SIDECAR_SUFFIXES or Path(path).name.lower() in SIDECAR_NAMES


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122  a Path costs 20 us, half of listing a large folder


def visible_files(
    folder: str | Path, hidden: Counter[str] | None = None, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[str]:
    """All files in a folder and its subfolders, in any order, without hidden ones; links are followed.

    Args:
        folder: Where to look.
        hidden: As for `visible_entries`.
        above: Device and inode of the folders that it was reached through.

    Raises:
        InputError: If a folder may not be read, or is a link to one that it lies in.
    """
    status = Path(folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise InputError(f"{folder}: a link to a folder that contains it; remove the link")
    for entry in visible_entries(folder, hidden):
        if entry.is_dir():
            yield from visible_files(entry.path, hidden, above | {identity})
        else:
            yield entry.path
