"""What format a folder is in that a dataset cannot read, so that its message names the format and the way."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.pipeline.files import is_image, listed, visible_entries, visible_files
from visiontasks.errors import InputError

_PART_NAMES = frozenset(
    (
        *(
            "images",
            "image",
            "imgs",
            "img",
            "jpegimages",
            "masks",
            "mask",
            "labels",
            "label",
            "annotations",
            "annotation",
        ),
        *(
            "annots",
            "xmls",
            "xml",
            "segmentations",
            "segmentationclass",
            "segmentationobject",
            "imagesets",
            "groundtruth",
        ),
    )
)
"""Casefolded names of folders that hold one part of each sample, not one class."""
LABEL_COLUMNS = frozenset(
    ("label", "labels", "class", "classes", "category", "target", "breed", "species", "diagnosis")
)
IMAGE_COLUMNS = frozenset(("id", "file", "filename", "path", "name"))
BOX_COLUMNS = ({"x1", "y1", "x2", "y2"}, {"xmin", "ymin", "xmax", "ymax"}, {"x", "y", "width", "height"}, {"bbox"})
YOLO_LINE = re.compile(r"\d+( -?\d*\.?\d+(e-?\d+)?){4,}\s*")
YOLO_NAMES = re.compile(r"(?ms)(?=.*^names:)(?=.*^(nc|train):)")
_COCO_LISTS = re.compile(r"""\A\s*\{(?s:.*)"(images|annotations|categories)"\s*:\s*\[""")
_MOST_FILES = 2000
"""That are looked at: a message need not wait for all of a million files."""
_HEAD_BYTES = 2000


def part_folders(names: Sequence[str]) -> list[str]:
    """Folders that hold images, masks or annotations rather than a class; empty where it is but one."""
    parts = [name for name in names if is_part(name)]
    return parts if len(parts) > 1 else []


def is_part(name: str) -> bool:
    """Whether a folder of this name holds one part of each sample: images, masks, labels, annotations."""
    return name.casefold() in _PART_NAMES


def layout_hint(root: Path) -> str:
    """The format that a folder seems to be in, and how it is read, to follow a message; empty if it is not known."""
    try:
        files = list(islice(visible_files(root), _MOST_FILES)) if root.is_dir() else []
    except (InputError, OSError):
        return ""
    found = next((hint for hint in _hints(root, sorted(files)) if hint), "")
    return f". {found}" if found else ""


def file_name_classes(folder: Path) -> str:
    """A hint if images lie side by side with their class in the file name, as in cat.0.jpg; else empty."""
    names = sorted(entry.name for entry in visible_entries(folder) if is_image(entry.name))
    starts = Counter(match[0] for name in names if (match := re.match(r"[^\W\d_]{2,}", Path(name).stem)))
    if not 2 <= len(starts) <= len(names) / 2 or sum(starts.values()) < len(names):
        return ""
    examples = [next(name for name in names if name.startswith(start)) for start in list(starts)[:2]]
    return f"The class seems to be in the file names ({' and '.join(examples)}): move each into {folder}/<class>/"


def _hints(root: Path, files: Sequence[str]) -> Iterator[str]:
    by_suffix: dict[str, list[Path]] = {}
    for file in files:
        by_suffix.setdefault(Path(file).suffix.lower(), []).append(Path(file))
    yield _coco(root, by_suffix.get(".json", []))
    yield _yolo(root, by_suffix.get(".txt", []))
    yield _voc(root, by_suffix.get(".xml", []), files)
    yield from (_table(root, file, _image_folder(root, files)) for file in by_suffix.get(".csv", [])[:10])
    yield _masks(root)


def coco_files(root: Path, files: Sequence[Path]) -> tuple[list[Path], dict[str, str]]:
    """Those of some JSON files that are in COCO's format, and the file of each split, under root."""
    found = [file for file in files[:20] if _COCO_LISTS.search(head(file))]
    splits: dict[str, str] = {}
    for file in [file for file in found if file.name.startswith("instances")] or found:
        name = file.relative_to(root)
        means = split_of(file.stem) or split_of(name.parent.name)
        splits.setdefault(means[0] if means and means[0] in SPLITS else "train", str(name))
    return found, {split: splits[split] for split in SPLITS if split in splits}


def _coco(root: Path, files: Sequence[Path]) -> str:
    found, splits = coco_files(root, files)
    if not found:
        return ""
    given = json.dumps(splits)
    options = f"--data COCOBoxes --data.splits '{given}'"
    return f"{found[0]} is in COCO's format: {_detect(root)}; for one box in each image folder_localize with {options}"


def _yolo(root: Path, files: Sequence[Path]) -> str:
    for file in files[:20]:
        lines = head(file).splitlines()
        if lines and YOLO_LINE.fullmatch(lines[0]):
            return (
                f"{file} is in YOLO's format (class, then box or outline in shares of the image): {_detect(root)}; for "
                "others convert it to Pascal VOC, COCO or a CSV file with path,label,x1,y1,x2,y2 in pixels"
            )
    return ""


def _voc(root: Path, files: Sequence[Path], all_files: Sequence[str]) -> str:
    annotated = [file for file in files[:20] if "<annotation" in head(file)]
    if not annotated:
        return ""
    folder = annotated[0].parent
    folders = sorted({file.parent for file in files})
    if len(folders) > 1:
        some = listed([f"{folder}/" for folder in folders])
        return (
            f"{some} are in Pascal VOC's format: {_detect(root)}; for one box in each image move all XML files into "
            "annotations/ and all images into images/, name each split's images in train.txt, val.txt and test.txt "
            "beside them, and take recipe folder_localize"
        )
    image = next((Path(file) for file in all_files if is_image(file) and Path(file).stem == annotated[0].stem), None)
    images = "" if image is None else f" --data.images {image.parent.relative_to(root)}"
    annotations = folder.relative_to(root)
    options = f"--data.annotations {annotations}{images}"
    one = f"for one box in each image folder_localize with {options}"
    return f"{folder}/ is in Pascal VOC's format: {_detect(root)}; {one}"


def _detect(root: Path) -> str:
    return f"recipe folder_detect with --data.root {root}"


def _table(root: Path, file: Path, images: Path) -> str:
    header = head(file, encoding="utf-8-sig").partition("\n")[0].strip()
    delimiter = max(",;\t|", key=header.count)
    columns = [name.strip().casefold() for name in next(csv.reader([header], delimiter=delimiter), [])]
    name = file.relative_to(root)
    if any(wanted <= set(columns) for wanted in BOX_COLUMNS):
        return (
            f"{name} is a table of boxes: {_detect(root)}; for one box in each image folder_localize with --data "
            f"CSVBoxes --data.csv {name}, and the columns path,label,x1,y1,x2,y2"
        )
    has_images = any("image" in column for column in columns) or IMAGE_COLUMNS & set(columns)
    if len(columns) > 1 and (has_images or LABEL_COLUMNS & set(columns)):
        return (
            f"{name} is a CSV file of labels (columns {header[:80]}), which is not read: move the images into one "
            f"folder for each label, {images}/<label>/"
        )
    return ""


def _image_folder(root: Path, files: Sequence[str]) -> Path:
    """Where the images lie that a table is about: those to train on, if there are several folders."""
    folders = sorted({Path(file).parent for file in files if is_image(file)})
    named = [folder for folder in folders if (means := split_of(folder.name)) and means[0] == "train"]
    return next(iter([*named, *folders]), root)


def _masks(root: Path) -> str:
    found = []
    for folder in (root, *(Path(entry.path) for entry in visible_entries(root) if entry.is_dir())):
        names = {entry.name.casefold() for entry in visible_entries(folder) if entry.is_dir()}
        if names & {"masks", "mask", "segmentationclass"} and names & {"images", "image", "imgs", "img", "jpegimages"}:
            found.append(folder)
    if len(found) > 1:
        some = listed([f"{folder}/" for folder in sorted(found)])
        return f"{some} hold images and masks: recipe folder_segment, and the names train/, val/ and test/ for them"
    if found:
        return (
            f"{found[0]}/ holds images and masks: recipe folder_segment with --data.root {found[0]}, and the folders "
            "images/ and masks/"
        )
    return ""


def head(file: Path, *, encoding: str = "utf-8") -> str:
    """The first characters of a text file; empty if it is not one."""
    with suppress(OSError), file.open("rb") as stream:
        return stream.read(_HEAD_BYTES).decode(encoding, errors="ignore")
    return ""
