"""The images that files, folders and globs on a command line name."""

import glob
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from visiontasks.data.pipeline.files import IMAGE_SUFFIXES, is_image, listed, natural_key, plugin_hint, visible_files
from visiontasks.data.pipeline.hidden import describe_hidden, hidden_kind, is_hidden
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


@dataclass
class PassedOver:
    """What was not taken of folders and globs.

    Args:
        files: Files that are not images, in folders or matched by a glob.
        hidden: Folders and images that are hidden or a system's own, by kind.
    """

    files: set[str] = field(default_factory=set)
    hidden: Counter[str] = field(default_factory=Counter)

    def describe(self) -> str:
        """How many and of which suffixes; empty without any."""
        suffixes = Counter(Path(file).suffix.lower() or "no suffix" for file in self.files)
        kinds = ", ".join(f"{suffix} {count:,}" for suffix, count in suffixes.most_common())
        parts = [f"{len(self.files):,} file{'s' * (len(self.files) != 1)} ({kinds})"] if suffixes else []
        parts += [f"hidden {describe_hidden(self.hidden)}"] if self.hidden else []
        hint = plugin_hint(sorted(self.files)).removeprefix(", or ")
        return f"passed over: {'; '.join(parts)}{f'; to read more: {hint}' if hint else ''}" if parts else ""


def find_images(names: Iterable[str], passed_over: PassedOver | None = None) -> list[ImageFile]:
    """The images that files, folders and globs name, each once, in the order in which they were named.

    A file is taken whatever its name. In folders, and in those that a glob names, files with the suffix of an image
    are taken, at any depth and in natural order, but not hidden ones. `**` in a glob matches any folders.

    Args:
        names: Files, folders and globs.
        passed_over: Gets what was not taken of folders and globs.

    Raises:
        MissingFileError: If one names nothing, or no image.
        InputError: If a folder may not be read.
    """
    found: dict[str, ImageFile] = {}
    passed_over = passed_over or PassedOver()
    for name in names:
        here = PassedOver()
        images = list(_images(name, here))
        passed_over.files |= here.files
        passed_over.hidden.update(here.hidden)
        if not images:
            suffixes = " ".join(sorted(IMAGE_SUFFIXES))
            passed = here.describe()
            raise MissingFileError(
                f"no images in {name}; expected files with a suffix of {suffixes}, in any subfolder"
                f"{passed and f' ({passed})'}"
            )
        for image in images:
            found.setdefault(image.path, image)
    return list(found.values())


def check_picture_folder(folder: Path, images: Iterable[ImageFile], option: str) -> None:
    """Check that a folder to write pictures into is not a file, and contains none of the images.

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
    """Where a name is, which may be a link, and where it leads."""
    return path.parent.resolve() / path.name, path.resolve()


def _images(name: str, passed_over: PassedOver) -> Iterator[ImageFile]:
    path = Path(name)
    if path.is_dir():
        yield from _in_folder(name, passed_over)
    elif path.exists():
        yield ImageFile(name, Path(path.name))
    elif glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True), key=natural_key)  # noqa: PTH207 (Path.glob takes no absolute one)
        if not matches:
            raise MissingFileError(f"{name}: matches no file")
        named = Path(name).parts
        for match in matches:
            hidden = [part for part in Path(match).parts if is_hidden(part) and part not in named]
            passed_over.hidden.update(map(hidden_kind, hidden))
            if not hidden:
                yield from _matched(match, passed_over)
    else:
        raise MissingFileError(f"{name}: no such file or folder")


def _matched(match: str, passed_over: PassedOver) -> Iterator[ImageFile]:
    if Path(match).is_dir():
        yield from _in_folder(match, passed_over)
    elif is_image(match):
        yield ImageFile(match, Path(Path(match).name))
    else:
        passed_over.files.add(match)


def _in_folder(folder: str, passed_over: PassedOver) -> Iterator[ImageFile]:
    for path in sorted(visible_files(folder, passed_over.hidden), key=natural_key):
        if is_image(path):
            yield ImageFile(path, Path(path).relative_to(folder))
        else:
            passed_over.files.add(path)
