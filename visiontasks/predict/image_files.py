"""The images that files, folders and globs on a command line name."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from visiontasks.data.files import IMAGE_SUFFIXES, is_image, listed, natural_key, visible_files
from visiontasks.errors import InputError, MissingFileError


@dataclass(frozen=True)
class ImageFile:
    """An image that was named, or found where a folder or glob was.

    Args:
        path: As it was given, or below the folder as it was given.
        below: Where it lies below the folder that was named; its file name where it was named itself.
    """

    path: str
    below: Path


def find_images(names: Iterable[str]) -> list[ImageFile]:
    """The images that files, folders and globs name, each once, in the order in which they were named.

    A file is taken whatever its name. In folders, and in those that a glob names, files with the suffix of an image
    are taken, at any depth and in natural order, but not hidden ones. `**` in a glob stands for any folders.

    Raises:
        MissingFileError: If one names nothing, or no image.
        InputError: If a folder may not be read.
    """
    found: dict[str, ImageFile] = {}
    for name in names:
        images = list(_images(name))
        if not images:
            suffixes = " ".join(sorted(IMAGE_SUFFIXES))
            raise MissingFileError(f"no images in {name}; expected files with a suffix of {suffixes}, in any subfolder")
        for image in images:
            found.setdefault(image.path, image)
    return list(found.values())


def check_picture_folder(folder: Path, images: Iterable[ImageFile], option: str) -> None:
    """Check that a folder to write pictures into is no file, and holds none of the images.

    Raises:
        InputError: If it is, or does.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{option} {folder}: a file, expected a folder to write into; give another")
    own = folder.resolve()
    inside = [image.path for image in images if any(place.is_relative_to(own) for place in _places(Path(image.path)))]
    if inside:
        raise InputError(f"{option} {folder}: holds images that are to be read ({listed(inside[:1])}); give another")


def _places(path: Path) -> tuple[Path, Path]:
    """Where a name stands, which may be a link, and what it stands for."""
    return path.parent.resolve() / path.name, path.resolve()


def _images(name: str) -> Iterator[ImageFile]:
    path = Path(name)
    if path.is_dir():
        yield from _in_folder(name)
    elif path.exists():
        yield ImageFile(name, Path(path.name))
    elif glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True), key=natural_key)  # noqa: PTH207 (Path.glob takes no absolute one)
        if not matches:
            raise MissingFileError(f"{name}: matches no file")
        for match in matches:
            if Path(match).is_dir():
                yield from _in_folder(match)
            elif is_image(match):
                yield ImageFile(match, Path(Path(match).name))
    else:
        raise MissingFileError(f"{name}: no such file or folder")


def _in_folder(folder: str) -> Iterator[ImageFile]:
    for path in sorted(filter(is_image, visible_files(folder)), key=natural_key):
        yield ImageFile(path, Path(path).relative_to(folder))
