"""What a folder of images is annotated with, and which dataset reads it, by a look at names and beginnings of files."""

import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from visiontasks.class_names import normalized
from visiontasks.data.formats.label_columns import TRUE, Wanted, find_columns
from visiontasks.data.formats.layouts import (
    BOX_COLUMNS,
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    YOLO_LINE,
    YOLO_NAMES,
    coco_files,
    file_name_classes,
    head,
    is_part,
    part_folders,
)
from visiontasks.data.formats.split_folders import SPLITS, says_nothing, split_of
from visiontasks.data.pipeline.files import class_folders, is_image, natural_key, visible_entries
from visiontasks.errors import InputError

LABEL, LABELS, BOX, MASK = "label", "label list", "box", "mask"
"""Targets, as `visiontasks.data.targets` name them."""
_MOST_FOLDERS = 300
_MOST_FILES = 200
"""That are looked at in each folder: an answer need not wait for a million files."""
_MOST_BELOW = 40
_DEPTH = 4
_MOST_READ = 20
_MOST_NAMES = 3
_CSV_BOXES = {"path", "label", "x1", "y1", "x2", "y2"}
_JSON_KEYS = {
    "LabelMe": '"shapes"',
    "Label Studio": '"completed_by"',
    "CreateML": '"coordinates"',
    "VGG Image Annotator": '"region_attributes"',
}
ANY_BOXES = "DetectionFolder"
"""The dataset that reads boxes in every format that is known here, any number of them for each image."""


@dataclass(frozen=True)
class Found:
    """Annotations of one kind in a folder.

    Args:
        target: What each image has: "label", "box" or "mask".
        what: The format with an example, for messages.
        dataset: Class of `visiontasks.data` that reads it; empty if none does.
        options: Its arguments beside root, as written on a command line.
        way_out: What to do where no dataset reads it, or only `ANY_BOXES` and one box for each image is wanted.
        files: Annotation files of boxes, relative to the folder.
    """

    target: str
    what: str
    dataset: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    way_out: str = ""
    files: Sequence[Path | str] = ()


@dataclass(frozen=True)
class Look:
    """The first files of a folder and of each folder in it; paths are relative to root.

    Args:
        root: The folder.
        images: Image files.
        others: Other files by suffix in lower case.
    """

    root: Path
    images: list[Path]
    others: dict[str, list[Path]]

    @classmethod
    def at(cls, root: Path) -> "Look":
        """Look at a folder.

        Raises:
            InputError: If a folder may not be read.
        """
        images: list[Path] = []
        others: dict[str, list[Path]] = {}
        for path in sorted(_first_files(root)):
            name = path.relative_to(root)
            if is_image(path.name):
                images.append(name)
            else:
                others.setdefault(path.suffix.lower(), []).append(name)
        return cls(root, images, others)

    def own(self, suffix: str) -> list[Path]:
        """Files of a suffix, without those in a folder that has images of its own, which may be another dataset."""
        with_images = {name.parts[0] for name in self.images}
        return [name for name in self.others.get(suffix, []) if _belongs(name, with_images)]

    def heads(self, suffix: str) -> Iterator[tuple[Path, str]]:
        """The first of these files with their first characters."""
        for name in self.own(suffix)[:_MOST_READ]:
            yield name, head(self.root / name).lstrip("\ufeff")


def annotations_in(look: Look) -> list[Found]:
    """All annotations that a folder holds, one for each target; empty if there are none."""
    boxes = [found for find in (_coco, _voc, _tables, _yolo, _json, _cvat) for found in find(look)]
    # of a dataset exported twice the form that is read, and by the most recipes
    found = sorted(boxes, key=lambda each: (not each.dataset, each.dataset == ANY_BOXES))[:1]
    found += _masks(look)
    found += _class_folders(look)
    return found or [*_labels(look)]


def datasets_below(look: Look) -> list[Path]:
    """Datasets in a folder that is not one itself, at the first of two levels that holds any.

    A folder that would be read as class folders counts as a folder of datasets if the folders in it hold no images but
    in folders of their own, which differ.
    """
    tops = class_folders(look.root)
    lone = len(tops) == 1 and split_of(tops[0]) is None
    found = annotations_in(look)
    if not lone and any(each.target != LABEL for each in found):
        return []
    if not lone and any(each.dataset for each in found) and not _holds_other_folders(look, tops):
        return []
    level = [look.root]
    for _ in range(2):
        level = [folder / name for folder in level for name in class_folders(folder)][:_MOST_BELOW]
        read = [folder for folder in level if any(found.dataset for found in annotations_in(Look.at(folder)))]
        if read:
            return read
    return []


def _holds_other_folders(look: Look, tops: Sequence[str]) -> bool:
    inside = [{name.parts[1] for name in look.images if name.parts[0] == top and name.parts[2:]} for top in tops]
    direct = any(len(name.parts) < 3 for name in look.images)
    return not direct and len({*map(frozenset, inside)}) > 1 and not any(map(split_of, tops))


def _first_files(root: Path) -> Iterator[Path]:
    """Files level by level, so that no large folder hides another one."""
    folders = deque([(root, 0)])
    for _ in range(_MOST_FOLDERS):
        if not folders:
            return
        folder, depth = folders.popleft()
        number = 0
        for entry in sorted(visible_entries(folder), key=lambda entry: entry.name):
            if entry.is_dir():
                folders += [(Path(entry.path), depth + 1)] if depth < _DEPTH else []
            elif number < _MOST_FILES or not is_image(entry.name):
                number += 1
                yield Path(entry.path)


def _belongs(name: Path, with_images: set[str]) -> bool:
    top = name.parts[0]
    return len(name.parts) == 1 or top not in with_images or is_part(top) or split_of(top) is not None


def _coco(look: Look) -> Iterator[Found]:
    files, splits = coco_files(look.root, [look.root / name for name in look.own(".json")])
    if files:
        default = all(_read_by_default(Path(name)) for name in splits.values())
        given = "{" + ", ".join(f"{split}: {name}" for split, name in splits.items()) + "}"
        what = f"boxes in COCO's format ({_some(list(splits.values()))})"
        yield Found(BOX, what, "COCOBoxes", {} if default else {"splits": given}, files=[*splits.values()])


def _read_by_default(name: Path) -> bool:
    """Whether `COCOBoxes` looks for a file of this name by itself."""
    exported = name.name == "_annotations.coco.json" and len(name.parts) > 1
    whole = name.as_posix() in ("instances.json", "annotations/instances.json")
    of_split = rf"annotations/instances_({'|'.join(SPLITS)}).*\.json"
    return exported or whole or bool(re.fullmatch(of_split, name.as_posix()))


def _voc(look: Look) -> Iterator[Found]:
    files = [name for name, text in look.heads(".xml") if re.search(r"<annotation[\s>]", text)]
    folders = sorted({name.parent for name in look.own(".xml")})
    if not files:
        return
    what = f"boxes in Pascal VOC's format ({files[0]})"
    if len(folders) > 1:
        way_out = (
            f"move all XML files (of {_some([f'{folder}/' for folder in folders])}) into annotations/ and all images "
            "into images/, and name those of each split in train.txt, val.txt and test.txt beside them"
        )
        yield Found(BOX, what, ANY_BOXES, way_out=way_out)
        return
    images = [name.parent for name in look.images if name.stem == files[0].stem]
    options = {} if str(folders[0]).casefold() == "annotations" else {"annotations": str(folders[0])}
    if images and not any(str(folder).casefold() in ("images", "jpegimages") for folder in images):
        options["images"] = str(images[0])
    yield Found(BOX, what, "VOCBoxes", options, files=look.own(".xml"))


def _tables(look: Look) -> Iterator[Found]:
    for name, text in look.heads(".csv"):
        first, columns = _first_line(text)
        what = f"a table of boxes ({name}: {first[:60]})"
        if columns >= _CSV_BOXES:
            options = {} if str(name) == "boxes.csv" else {"csv": str(name)}
            yield Found(BOX, f"a table of boxes ({name})", "CSVBoxes", options, files=[name])
        elif any(wanted <= columns for wanted in BOX_COLUMNS):
            way_out = (
                "name its columns path,label,x1,y1,x2,y2 (corners in pixels; for others --data.box_format and "
                "--data.box_unit)"
            )
            has_class = bool(columns & {*LABEL_COLUMNS, "labelname", "class_name", "name"}) and "bbox" not in columns
            yield Found(BOX, what, ANY_BOXES if has_class else "", way_out=way_out)
        elif re.fullmatch(r"[^,]+(,\d+(\.\d*)?){4},[^,]+|[^,]+,[^,]+(,\d+(\.\d*)?){4}", first):
            yield Found(BOX, what, ANY_BOXES, way_out="name its columns in a first line, path,x1,y1,x2,y2,label")


def _yolo(look: Look) -> Iterator[Found]:
    way_out = "convert it to Pascal VOC, COCO, or a table boxes.csv with the columns path,label,x1,y1,x2,y2 in pixels"
    for name, text in look.heads(".txt"):
        first = text.partition("\n")[0]
        if YOLO_LINE.fullmatch(first):
            yield Found(BOX, f"boxes in YOLO's format ({name}: {first[:40]})", ANY_BOXES, way_out=way_out)
            return
    for name, text in look.heads(".yaml"):
        if YOLO_NAMES.search(text):
            yield Found(BOX, f"boxes in YOLO's format ({name})", ANY_BOXES, way_out=way_out)
            return


def _json(look: Look) -> Iterator[Found]:
    for name, text in look.heads(".json"):
        kind = next((kind for kind, key in _JSON_KEYS.items() if key in text), None)
        if kind is not None:
            way_out = "export it as COCO or Pascal VOC (boxes), or as masks (PNG of class indices, in masks/)"
            yield Found(BOX, f"{kind}'s format ({name})", ANY_BOXES, way_out=way_out)
            return


def _cvat(look: Look) -> Iterator[Found]:
    for name, text in look.heads(".xml"):
        if "<annotations>" in text:
            way_out = "export it from CVAT as Pascal VOC or COCO"
            yield Found(BOX, f"CVAT's format ({name})", ANY_BOXES, way_out=way_out)
            return


def _masks(look: Look) -> Iterator[Found]:
    """Folders of images and masks, in the forms that `MaskFolder` reads, or under other names."""
    for folder in (Path(), *(Path(name) for name in class_folders(look.root) if split_of(name))):
        names = {name.casefold(): name for name in class_folders(look.root / folder)}
        images = next((names[name] for name in ("images", "image", "imgs", "img", "jpegimages") if name in names), "")
        masks = next((names[name] for name in ("masks", "mask", "segmentationclass") if name in names), "")
        if not (images and masks):
            continue
        what = f"images with masks ({folder / images}/ and {folder / masks}/)"
        if (images.casefold(), masks.casefold()) == ("images", "masks"):
            yield Found(MASK, what, "MaskFolder")
        else:
            yield Found(MASK, what, way_out="name the two folders images/ and masks/")
        return


def _class_folders(look: Look) -> Iterator[Found]:
    """Class folders, in the forms that `ImageFolder` reads."""
    folders = class_folders(look.root)
    splits = [name for name in folders if (means := split_of(name)) and means[0] in SPLITS]
    with_classes = [name for name in splits if class_folders(look.root / name)]
    if with_classes:
        inside = [name.parts[1:] for name in look.images if name.parts[0] in with_classes]
        wrapped = [parts[1:] for parts in inside if split_of(parts[0]) or says_nothing(parts[0])]
        inside, where = wrapped or inside, f" in {_some([f'{name}/' for name in with_classes])}"
    else:
        inside, where = [name.parts for name in look.images if name.parts[0] not in splits], ""
    names = sorted({normalized(parts[0]) for parts in inside if len(parts) > 1}, key=natural_key)
    if len(names) > 1 and not part_folders(names):
        yield Found(LABEL, f"class folders{where} ({_some(names)})", "ImageFolder")


def _labels(look: Look) -> Iterator[Found]:
    """Labels that stand in a table, or in names of files, which no dataset reads."""
    tables = [(name, text) for suffix in (".csv", ".tsv") for name, text in look.heads(suffix)]
    for name, text in tables:
        first, columns = _first_line(text)
        has_images = any("image" in column for column in columns) or IMAGE_COLUMNS & columns
        if len(columns) > 1 and (has_images or LABEL_COLUMNS & columns):
            what = f"a table of labels ({name}: {first[:60]})"
            several = _has_several_labels(look, name, text)
            if several is None:
                way_out = f"move the images into one folder for each label, {_training_folder(look)}/<label>/"
                yield Found(LABEL, what, way_out=way_out)
                return
            beside = [other for other, _ in tables if other.parent == name.parent and split_of(other.stem)]
            options = {} if len(beside) > 1 or (len(tables) == 1 and len(name.parts) == 1) else {"table": str(name)}
            yield Found(LABELS if several else LABEL, what, "TableLabels" if several else "TableImages", options)
            return
    if hint := file_name_classes(look.root):
        yield Found(LABEL, "images whose class is in their names", way_out=hint[0].lower() + hint[1:])


def _has_several_labels(look: Look, name: Path, text: str) -> bool | None:
    """Whether a table gives images several labels; None where it names no image here, or it is not clear how."""
    lines = text.splitlines()
    delimiter = max(",;\t|", key=lines[0].count)
    try:
        header, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter) if row]
        rows = [row for row in rows[: max(1, len(rows) - 1)] if len(row) == len(header)]  # the last one may be cut off
        columns = find_columns(header, rows, Wanted(several=True), file=str(name))
    except (csv.Error, InputError):
        return None
    if not any(_is_here(look, row[columns.path]) for row in rows):
        return None
    if columns.is_hot:
        counts = [sum(row[k].casefold() in TRUE for k in columns.labels) for row in rows]
        return any(count != 1 for count in counts)
    images = [row[columns.path] for row in rows]
    return bool(columns.separator) or len(set(images)) < len(images)


def _is_here(look: Look, written: str) -> bool:
    """Whether an image that a table names lies in the folder."""
    folders = {name.parent for name in look.images}
    suffixes = {"", *(name.suffix for name in look.images)}
    name = written.replace("\\", "/")
    return bool(name) and any(
        (look.root / folder / (name + suffix)).is_file() for folder in (Path(), *folders) for suffix in suffixes
    )


def _first_line(text: str) -> tuple[str, set[str]]:
    """The first line of a table, and the columns that it names."""
    first = text.partition("\n")[0].strip()
    delimiter = max(",;\t|", key=first.count)
    return first, {column.strip().casefold() for column in next(csv.reader([first], delimiter=delimiter), [])}


def _training_folder(look: Look) -> Path:
    """Where the images lie that a table is about: those to train on, if there are several folders."""
    folders = sorted({name.parent for name in look.images})
    named = [folder for folder in folders if (means := split_of(folder.name)) and means[0] == "train"]
    return look.root / next(iter([*named, *folders]), Path())


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
