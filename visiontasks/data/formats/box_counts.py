"""Whether each image has exactly one box, by a quick look at some annotations of a folder."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from visiontasks.data.formats.found import Found
from visiontasks.units import in_units

MOST_XML = 200
MOST_ROWS = 2000
MOST_JSON_BYTES = 8_000_000
"""That are looked at, in about 0.1 s."""
_MOST_XML_BYTES = 1_000_000
_OBJECT = re.compile(rb"<object[\s>]")

Count = tuple[str, int]  # an image by name, or its annotation, and how many boxes it has


def one_box_each(root: Path, found: Found) -> tuple[bool, str]:
    """Whether every image that is looked at has exactly one box.

    Args:
        root: The folder.
        found: Boxes in it, that `VOCBoxes`, `COCOBoxes` or `CSVBoxes` reads.

    Returns:
        Whether it has, also where there is nothing to count; and why, in words, empty where nothing was counted.
    """
    files = [root / name for name in found.files]
    if found.dataset == "COCOBoxes":
        size = sum(file.stat().st_size for file in files)
        if size > MOST_JSON_BYTES:
            return False, f"too large for a quick count ({in_units(size, 'B')})"
        return _in_words([count for file in files for count in _of_coco(file)])
    if found.dataset == "VOCBoxes":
        return _in_words([count for file in _spread(files) for count in _of_xml(file)])
    return _in_words([count for file in files for count in _of_table(file)])


def _in_words(counts: Sequence[Count]) -> tuple[bool, str]:
    for name, count in counts:
        if count > 1:
            return False, f"images with several boxes ({name}: {count})"
    for name, count in counts:
        if count == 0:
            return False, f"images without a box ({name})"
    return True, f"one box in each image ({len(counts):,} looked at)" if counts else ""


def _spread(files: Sequence[Path]) -> Sequence[Path]:
    """At most `MOST_XML` of them, evenly chosen."""
    number = min(len(files), MOST_XML)
    return [files[i * len(files) // number] for i in range(number)]


# A file that is broken counts for nothing: the dataset that reads it explains what is wrong.


def _of_xml(file: Path) -> Iterator[Count]:
    with suppress(OSError), file.open("rb") as stream:
        text = stream.read(_MOST_XML_BYTES)
        if b"<annotation" in text:
            yield file.name, len(_OBJECT.findall(text))


def _of_coco(file: Path) -> list[Count]:
    try:
        content = json.loads(file.read_bytes())
        counts = {image["id"]: 0 for image in content["images"]}
        names = {image["id"]: str(image.get("file_name", image["id"])) for image in content["images"]}
        for annotation in content["annotations"]:
            if annotation["image_id"] in counts:
                counts[annotation["image_id"]] += 1
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
    return [(names[key], count) for key, count in counts.items()]


def _of_table(file: Path) -> list[Count]:
    """Of the first rows; one whose label and numbers are empty has no box."""
    counts: dict[str, int] = {}
    with suppress(OSError, UnicodeDecodeError, csv.Error), file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, restkey="", restval="", skipinitialspace=True)
        reader.fieldnames = [name.strip().casefold() for name in reader.fieldnames or []]
        for row in islice(reader, MOST_ROWS):
            path = row.get("path", "").strip()
            has_box = any(row.get(name, "").strip() for name in ("label", "x1", "y1", "x2", "y2"))
            counts[path] = counts.get(path, 0) + has_box
    return [*counts.items()]
