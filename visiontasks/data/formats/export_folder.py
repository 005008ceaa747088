"""The files of an annotation tool's export, and which of its images a name in an annotation means."""

import os.path
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visiontasks.class_names import normalized
from visiontasks.data.formats.documents import Broken, head, parsed_json
from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.pipeline.files import is_image, listed, visible_files
from visiontasks.errors import InputError

_SAMPLED = 10
"""Files of a suffix that are looked at to recognize a format: the first ones, and as many of the largest."""

_MASK_FOLDERS = frozenset(
    ("mask", "masks", "trimaps", "segmentation", "segmentations", "segmentationclass", "segmentationobject")
)
"""Casefolded names of folders that have a picture of the same stem for each image; VOC's own among them."""


class ExportFolder:
    """A folder with annotations and images, in any subfolders. Its files are listed once; links are followed.

    Args:
        root: The folder.
        hidden: Where folders and images that are passed over as hidden are counted, by kind.

    Raises:
        InputError: If a folder may not be read.
    """

    def __init__(self, root: Path, hidden: Counter[str] | None = None) -> None:
        self.root = root
        self.files = sorted(visible_files(root, hidden))
        images = [file for file in self.files if is_image(file)]
        self.masks = self._masks(images)
        """Pictures that are the masks of others, by the name of their folder; they are not among the images."""
        self.images = [file for file in images if file not in self.masks]
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for image in self.images:
            name = _key(name_of(image))
            self._by_name.setdefault(name, []).append(image)
            self._by_stem.setdefault(stem_of(name), []).append(image)
        self._splits: dict[str, str] = {}
        self._json: dict[str, Any] = {}

    def _masks(self, images: list[str]) -> set[str]:
        found = {image for image in images if any(part in _MASK_FOLDERS for part in _keys(self.shown(image))[:-1])}
        others = {_key(stem_of(image)) for image in images if image not in found} if found else set()
        return {image for image in found if _key(stem_of(image)) in others}

    def with_suffix(self, *suffixes: str) -> list[str]:
        """The files with one of these suffixes, which are in lower case."""
        return [file for file in self.files if file.lower().endswith(suffixes)]

    def sample(self, *suffixes: str) -> list[str]:
        """Some of them, enough to recognize a format by: a large file is rather one of a whole dataset."""
        files = self.with_suffix(*suffixes)
        if len(files) <= 2 * _SAMPLED:
            return files
        largest = sorted(files, key=lambda file: -Path(file).stat().st_size)[:_SAMPLED]
        return sorted({*files[:_SAMPLED], *largest})

    def matching(self, test: Callable[[str], bool], *suffixes: str) -> list[str]:
        """The files with one of these suffixes that pass a test; empty where none of the sample does."""
        if not any(test(file) for file in self.sample(*suffixes)):
            return []
        return [file for file in self.with_suffix(*suffixes) if test(file)]

    def shown(self, file: str) -> str:
        """A file's path below the folder, for messages."""
        return file[len(str(self.root)) :].lstrip("/\\") or file

    def json(self, file: str) -> Any:
        """The content of a JSON file, or `Broken` with its beginning; read once."""
        if file not in self._json:
            try:
                self._json[file] = parsed_json(file)
            except InputError:
                self._json[file] = Broken(head(file))
        return self._json[file]

    def split_of_file(self, file: str) -> str:
        """The split that an annotation file is of, by its name or the folders it is in; empty if they name none."""
        means = split_of(stem_of(file))
        return means[0] if means and means[0] in SPLITS else self.split_of_folder(folder_of(file))

    def split_of_folder(self, folder: str) -> str:
        """The split that a folder under root is of, by its name or those of the folders it is in; empty if none."""
        if folder not in self._splits:
            names = Path(self.shown(folder)).parts if len(folder) > len(str(self.root)) else ()
            means = next((means[0] for name in reversed(names) if (means := split_of(name))), "")
            self._splits[folder] = means if means in SPLITS else ""
        return self._splits[folder]

    def find_image(self, written: str, annotation: str, split: str = "") -> tuple[str, str]:
        """The image that an annotation means, by as much of its path as there is.

        Annotations often have paths of the machine that they were made on. So the images of this name are taken, of
        several those that agree in more folders, or lie closer to the annotation. One in the folder of another split
        than the annotation's is another image.

        Args:
            written: The path, or the name alone.
            annotation: The file that has it.
            split: The annotation's, or empty.

        Returns:
            The image, or empty, and what is wrong, with what to do unless that is to copy the image there.
        """
        parts = [_key(part) for part in written.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        found = self._of_split(self._by_name.get(parts[-1], []) if parts else [], split)
        return self._closest(found, parts, annotation, written)

    def has_stem(self, stem: str) -> bool:
        """Whether an image is called so, but for its suffix."""
        return _key(stem) in self._by_stem

    def find_stem(self, stem: str, annotation: str, split: str = "", name: str = "") -> tuple[str, str]:
        """The same for a name without its suffix, as annotations of single images have it.

        Args:
            stem: The name without its suffix.
            annotation: The file that has it.
            split: The annotation's, or empty.
            name: The whole name, if the annotation has it; it decides between several images of the stem.
        """
        found = self._of_split(self._by_stem.get(_key(stem), []), split)
        named = [image for image in found if _key(name_of(image)) == _key(name)]
        return self._closest(named or found, [], annotation, f"{stem}.*")

    def _of_split(self, images: list[str], split: str) -> list[str]:
        """Images that are not in the folder of another split."""
        return [image for image in images if not split or self.split_of_folder(folder_of(image)) in ("", split)]

    def _closest(self, found: list[str], parts: list[str], annotation: str, written: str) -> tuple[str, str]:
        if len(found) > 1:
            nearness = [
                (_shared(_keys(image)[::-1], parts[::-1]), _near(image, annotation), image.endswith(written))
                for image in found
            ]
            found = [image for image, near in zip(found, nearness, strict=True) if near == max(nearness)]
        if len(found) > 1:
            some = listed([self.shown(image) for image in found])
            return "", f"{written} may be any of {some}; rename or remove all but one"
        return (found[0], "") if found else ("", f"no image {written} in {self.root}/")


def name_of(path: str) -> str:
    """The last part of a path."""
    return os.path.basename(path)  # noqa: PTH119 (a tenth of the time of a Path)


def stem_of(path: str) -> str:
    """The last part of a path without its suffix."""
    return os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122


def folder_of(path: str) -> str:
    """A path without its last part."""
    return os.path.dirname(path)  # noqa: PTH120


def _key(name: str) -> str:
    return normalized(name).casefold()


def _keys(path: str) -> list[str]:
    return [_key(part) for part in Path(path).parts]


def _shared(first: list[str], second: list[str]) -> int:
    """How many parts two lists begin with in common."""
    pairs = zip(first, second, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _near(image: str, annotation: str) -> int:
    return _shared(list(Path(image).parts), list(Path(annotation).parts))
