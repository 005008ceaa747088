"""YOLO's text files, a line for each object: of Ultralytics, Roboflow, Label Studio, CVAT, LabelImg and Darknet.

A line is the number of the class and centre x, centre y, width, height as shares of the image's width and height, or
the corners of a polygon in such shares, of which the box around them is taken. Edges count from 0, so that
0.5 0.5 1 1 is the whole image. With six digits behind the point a box leaves its image by up to 5e-7 of a side; boxes
are cut to the image. See https://docs.ultralytics.com/datasets/detect and https://github.com/AlexeyAB/darknet.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import ClassVar

from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.box_reading import Reading
from visiontasks.data.formats.documents import head
from visiontasks.data.formats.export_folder import ExportFolder, folder_of, name_of, stem_of
from visiontasks.data.formats.exports import Export, Found, bounds, splits_note
from visiontasks.data.formats.yolo_lists import YOLOLists, read_lists
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError

_LINE = re.compile(r"\s*\d+(\.0*)?(\s+-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?){4,}\s*", re.IGNORECASE)
_LABELS = "labels"
_IMAGES = "images"
_BOX = ("centre x", "centre y", "width", "height")
_LEAST_POLYGON = 3


class YOLO:
    """Reads YOLO's labels: `labels/` beside `images/`, or a text file beside each image.

    Class names are those of data.yaml (`names` as a list or map), obj.names or classes.txt. Splits are those of
    data.yaml or obj.data, as far as they are there, else the folders. As in YOLO, an image without a text file has no
    object; a split without any text file is refused.
    """

    name: ClassVar[str] = "yolo"
    title: ClassVar[str] = "YOLO"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        lists = read_lists(folder)
        labelled = [file for file in folder.sample(".txt") if file not in lists.files and _is_label_file(file)]
        if not labelled and not lists.is_certain:
            return None
        names = f"{folder.shown(lists.source)} has the class names" if lists.source else ""
        line = f"{folder.shown(labelled[0])} has lines of a class and shares of the image" if labelled else ""
        return Found((), " and ".join(filter(None, (names, line))))

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`.

        Raises:
            InputError: If there are no class names, or they cannot be read.
        """
        lists = read_lists(folder)
        names = [name for name in lists.names if name]
        if len(set(names)) < len(names):
            raise InputError(f"{lists.source}: {listed(names)}, expected each name once")
        export = Export(folder, Reading("cxcywh", "fraction"), names, list(lists.notes))
        if lists.split_files:
            export.notes.append(splits_note([folder.shown(file) for file in lists.split_files]))
        export.missing = list(lists.absent_places)
        label_of, orphans = _pairs(folder, lists)
        unlabelled: dict[str, list[str]] = {}
        unnamed: list[str] = []
        for path in folder.images:
            split = lists.split_of.get(path, "")
            if lists.split_of and not split:
                unnamed.append(path)
                continue
            file = label_of.get(path, "")
            image = export.add_found(path, "", path, file or path, path, split=split)
            image.annotation = file
            if file:
                _add_lines(image, lists)
            else:
                unlabelled.setdefault(split or folder.split_of_folder(folder_of(path)), []).append(path)
        if unnamed:
            first = folder.shown(unnamed[0])
            export.notes.append(f"{len(unnamed):,} image(s) that no split has are left out (such as {first})")
        for file in orphans:
            stem = stem_of(file)
            export.add_found("", f"no image {stem}.* in {folder.root}/", f"{stem}.*", file, file)
        for file, written, split in lists.absent_images:
            export.add_found("", f"no image {written} in {folder.root}/", written, file, file, split=split)
        _check_unlabelled(export, unlabelled)
        return export


def _is_label_file(file: str) -> bool:
    """Whether the first line of a text file is an object's."""
    line = next((line for line in head(file).splitlines() if line.strip()), "")
    return bool(_LINE.fullmatch(line))


def _pairs(folder: ExportFolder, lists: YOLOLists) -> tuple[dict[str, str], list[str]]:
    """The label file of each image that has one, and those without an image."""
    files = dict.fromkeys(file for file in folder.with_suffix(".txt") if file not in lists.files)
    label_of = {path: next((file for file in _label_places(path) if file in files), "") for path in folder.images}
    label_of = {path: file for path, file in label_of.items() if file}
    paired = set(label_of.values())
    rest = [file for file in files if file not in paired]
    orphans = []
    for file in rest:
        is_one = name_of(folder_of(file)).casefold() == _LABELS or f"/{_LABELS}/" in file or _is_label_file(file)
        path, _ = folder.find_stem(stem_of(file), file, folder.split_of_folder(folder_of(file)))
        if path and path not in label_of and (is_one or not head(file).strip()):
            label_of[path] = file
        elif is_one:
            orphans.append(file)
    return label_of, orphans


def _label_places(path: str) -> Iterator[str]:
    """Where the labels of an image may lie, as YOLO's own code has it: labels/ for images/, or beside it."""
    stem = path.removesuffix(Path(path).suffix)
    parts = list(Path(stem).parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i].casefold() == _IMAGES:
            yield str(Path(*parts[:i], _LABELS, *parts[i + 1 :])) + ".txt"
    yield f"{stem}.txt"


def _add_lines(image: AnnotatedImage, lists: YOLOLists) -> None:
    file = image.annotation
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        image.problems.append(Problem(file, f"cannot be read ({error})", "export it again"))
        return
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        place = f"{file} line {number}"
        try:
            label, box = _object(words, has_keypoints=lists.has_keypoints)
            image.add_object(place, lists.class_name(label), dict(zip(_BOX, box, strict=True)))
        except InputError as error:
            image.problems.append(Problem(place, str(error), "correct the line, or remove it"))


def _object(words: Sequence[str], *, has_keypoints: bool) -> tuple[int, Sequence[float]]:
    """The class and box of a line."""
    expected = "expected a class number, then centre x, centre y, width, height or the corners of a polygon"
    try:
        label, numbers = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise InputError(f"{' '.join(words)[:60]!r}, {expected}") from None
    if not isfinite(label) or label != int(label) or len(numbers) < len(_BOX):
        raise InputError(f"{' '.join(words)[:60]!r}, {expected}")
    if len(numbers) == len(_BOX) or has_keypoints:
        return int(label), numbers[: len(_BOX)]
    if len(numbers) == len(_BOX) + 1:
        raise InputError(f"{len(words)} numbers, {expected}; the sixth may be the score of a prediction")
    if len(numbers) % 2 or len(numbers) < 2 * _LEAST_POLYGON:
        raise InputError(f"{len(words)} numbers, {expected}")
    x1, y1, x2, y2 = bounds(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return int(label), ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def _check_unlabelled(export: Export, unlabelled: Mapping[str, Sequence[str]]) -> None:
    """Note images without a text file; a split without any has no labels, rather than no objects."""
    for split, paths in unlabelled.items():
        images = [image for image in export.images.get(split, []) if image.path]
        if len(paths) == len(images):
            name = f"the {split} split" if split else f"{export.folder.root}/"
            expected = next(_label_places(paths[0]))
            raise InputError(
                f"data.init_args.root: no label file for any of the {len(paths)} images of {name}, expected such as "
                f"{expected} for {paths[0]}: copy them there, or remove these images"
            )
    count = sum(map(len, unlabelled.values()))
    if count:
        first = export.folder.shown(next(iter(unlabelled.values()))[0])
        export.notes.append(f"{count:,} image(s) without a label file have no object, as in YOLO (such as {first})")
