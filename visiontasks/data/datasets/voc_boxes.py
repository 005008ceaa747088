"""The user's own boxes in Pascal VOC's format: an XML file beside each image."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visiontasks.class_names import normalized
from visiontasks.data.datasets.boxes import BoxData
from visiontasks.data.formats.annotations import AnnotatedImage, check_split_names, natural_classes
from visiontasks.data.formats.exports import splits_note
from visiontasks.data.formats.layouts import layout_hint
from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.formats.voc import FROM_ONE, add_objects, parsed
from visiontasks.data.pipeline.files import is_image, listed, named_folder, natural_key, visible_entries
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError, MissingFileError
from visiontasks.regular_files import check_regular

_LISTING_FOLDERS = ("", "ImageSets/Main", "ImageSets", "splits")


class VOCBoxes(BoxData):
    """Images with Pascal VOC annotations of the same stem: images/a.jpg and annotations/a.xml.

    Where images/ is not there, VOC's own JPEGImages/ is taken.

    Splits are text files with a stem in each line. Without `splits` they are train.txt, val.txt and test.txt in root,
    or in root's ImageSets/Main, as far as they are there; without any, all files are divided. What is missing of
    validation and test is split off train, see `BoxData`.

    Pixels of VOC's own files count from 1, those of other tools are taken as written, see `formats.voc`. Objects marked
    difficult or truncated are objects like others. Classes are in natural order, class2 before class10.

    Args:
        root: The folder.
        images: Folder of the images, under root.
        annotations: Folder of the XML files, under root.
        splits: The text file of each split, under root, like {"train": "train.txt", "test": "val.txt"}.
        **kwargs: Arguments of `BoxData`.

    Raises:
        InputError: If a value is out of range, or a class is named twice.
    """

    def __init__(
        self,
        root: str,
        *,
        images: str = "images",
        annotations: str = "annotations",
        splits: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._counts_from_1 = False
        check_split_names(splits or {}, "data.init_args.splits")
        self.images = self.root / images
        self.annotations = self.root / annotations
        self.splits = splits

    def read_annotations(self) -> tuple[dict[str, list[AnnotatedImage]], list[str]]:
        """Pair images and XML files, and read the latter.

        Raises:
            MissingFileError: If a folder or a split's file is not there.
            InputError: If a split's file names what is not there.
        """
        self.images, self.annotations = (_as_published(folder) for folder in (self.images, self.annotations))
        images = _by_stem(self.root, self.images, "images", is_image, self.hidden)
        xmls = _by_stem(self.root, self.annotations, "annotations", lambda name: name.lower().endswith(".xml"))
        listings = self._listings()
        stems = {split: _read_stems(file, {*images, *xmls}) for split, file in listings.items()}
        if not stems:
            stems = {"train": sorted({*images, *xmls}, key=natural_key)}
        splits = {
            split: [self._annotated(stem, images.get(stem, []), xmls.get(stem, [])) for stem in listing]
            for split, listing in stems.items()
        }
        unlisted = {*images} - {stem for listing in stems.values() for stem in listing}
        self._read_notes = [splits_note(list(map(str, listings.values())))] if listings else []
        self._read_notes += [f"{len(unlisted):,} image(s) that no list names are left out"] if unlisted else []
        self._read_notes += [FROM_ONE] if self._counts_from_1 else []
        return splits, natural_classes(splits)

    def _listings(self) -> dict[str, Path]:
        if self.splits:
            return {split: self.root / file for split, file in self.splits.items()}
        for folder in _LISTING_FOLDERS:
            found = _found_listings(self.root / folder)
            if found:
                return found
        return {}

    def _annotated(self, stem: str, images: list[str], xmls: list[str]) -> AnnotatedImage:
        image = AnnotatedImage(images[0] if images else "", xmls[0] if xmls else "")
        if not xmls:
            missing = self.annotations / f"{stem}.xml"
            image.problems.append(Problem(image.path, f"no annotation {missing}", "annotate it, or remove the image"))
            return image
        if not images:
            missing = self.images / f"{stem}.*"
            image.problems.append(Problem(xmls[0], f"no image {missing}", "copy it there, or remove the annotation"))
        for files in (images, xmls):
            if len(files) > 1:
                image.problems.append(Problem(files[0], f"the stem of {listed(files[1:])} too", "rename or remove one"))
        self._counts_from_1 |= add_objects(image, parsed(image.annotation))
        return image


def _as_published(folder: Path) -> Path:
    """The folder, or where it is not there VOC's own JPEGImages/, or one whose name differs in case."""
    names = [folder.name.casefold(), *(["jpegimages"] if folder.name == "images" else [])]
    found = [folder, *(named_folder(folder.parent, name) for name in names)]
    return next((path for path in found if path.is_dir()), folder)


def _found_listings(folder: Path) -> dict[str, Path]:
    """The text file of each split in a folder; VOC's trainval.txt where there is no train.txt."""
    found: dict[str, Path] = {}
    files = [Path(entry.path) for entry in visible_entries(folder)] if folder.is_dir() else []
    for file in sorted(file for file in files if file.suffix.lower() == ".txt" and file.is_file()):
        means = split_of(file.stem)
        if means and not means[1] and means[0] in SPLITS:
            if means[0] in found:
                raise InputError(
                    f"data.init_args.splits: {found[means[0]]} and {file.name} are both {means[0]}; name one"
                )
            found[means[0]] = file
    if found and "train" not in found and (folder / "trainval.txt").is_file():
        found["train"] = folder / "trainval.txt"
    return {split: found[split] for split in SPLITS if split in found}


def _by_stem(
    root: Path, folder: Path, key: str, belongs: Callable[[str], bool], hidden: Counter[str] | None = None
) -> dict[str, list[str]]:
    """The files in a folder that belong there, by what stands before the suffix, in Unicode's composed form."""
    if not folder.is_dir():
        raise MissingFileError(
            f"no folder {folder}/: point --data.init_args.root at the folder that holds images and annotations, or "
            f"name the subfolder (--data.init_args.{key}){layout_hint(root)}"
        )
    found: dict[str, list[str]] = {}
    for entry in sorted(visible_entries(folder, hidden), key=lambda entry: entry.name):
        if belongs(entry.name) and entry.is_file():
            found.setdefault(normalized(Path(entry.name).stem), []).append(entry.path)
    return found


def _read_stems(file: Path, known: set[str]) -> list[str]:
    """The stems in a split's file."""
    check_regular(file)
    try:
        stems = [normalized(line.strip()) for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise MissingFileError(f"data.init_args.splits: no file {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"data.init_args.splits: {file} cannot be read ({error}), expected text") from error
    unknown = [stem for stem in stems if stem not in known]
    if unknown:
        raise InputError(
            f"data.init_args.splits: {file} names files that are not there: {listed(unknown)}; expected in each line "
            "the name of an image without its suffix"
        )
    if not stems or len(set(stems)) < len(stems):
        twice = sorted({stem for stem in stems if stems.count(stem) > 1}, key=natural_key)
        raise InputError(
            f"data.init_args.splits: {file} {f'names files twice: {listed(twice)}' if stems else 'is empty'}"
        )
    return stems
