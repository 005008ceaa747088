"""Open Images' CSV files of boxes, https://storage.googleapis.com/openimages/web/download_v7.html.

XMin, XMax, YMin, YMax (in this order) are shares of the image's width and height, edges counting from 0. Classes are
codes such as /m/011k07, named by a file of descriptions; images are named by ImageID, without a suffix.
"""

import csv
from collections.abc import Iterator, Mapping
from typing import ClassVar

from visiontasks.class_names import normalized
from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.box_reading import Reading
from visiontasks.data.formats.documents import head
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export, Found
from visiontasks.errors import InputError
from visiontasks.regular_files import check_regular

_COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_BOX = ("XMin", "YMin", "XMax", "YMax")
_CROWD = "IsGroupOf"


class OpenImages:
    """Reads Open Images' boxes: a CSV file for each split, and class-descriptions.csv.

    `IsGroupOf` (more than five objects in one box) makes a crowd; -1 there is not known, and an object. Classes are in
    the order of the descriptions, as far as there are boxes of them. The hierarchy of classes is not used.
    """

    name: ClassVar[str] = "openimages"
    title: ClassVar[str] = "Open Images"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        files = folder.matching(lambda file: set(_COLUMNS) <= set(_header(file)), ".csv")
        return Found(tuple(files), f"{folder.shown(files[0])} has the columns {', '.join(_COLUMNS)}") if files else None

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`."""
        export = Export(folder, Reading("xyxy", "fraction"))
        names = _descriptions(folder)
        images: dict[tuple[str, str], AnnotatedImage] = {}
        for file in found.files:
            split = folder.split_of_file(file)
            for line, row in _rows(file):
                key, place = (file, row["ImageID"]), f"{file} line {line}"
                if key not in images:
                    path, fault = folder.find_stem(row["ImageID"], file, split)
                    images[key] = export.add_found(path, fault, f"{row['ImageID']}.*", file, place, split=split)
                name = names.get(row["LabelName"], row["LabelName"])
                box = {corner: row[corner] for corner in _BOX}
                images[key].add_object(place, name, box, crowd=row.get(_CROWD) == "1")
        export.add_unlisted(found.files)
        used = {name for image in images.values() for name in image.names}
        order = dict.fromkeys(name for name in map(normalized, names.values()) if name in used)
        export.class_names = [*order, *sorted(used - set(order))]
        if not names:
            export.notes.append("classes are called by their codes: no file has LabelName,DisplayName")
        return export


def _header(file: str) -> list[str]:
    return [name.strip() for name in (head(file).splitlines() or [""])[0].split(",")]


def _rows(file: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The lines of a file with their numbers."""
    check_regular(file)
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:  # noqa: PTH123 (a str)
            reader = csv.DictReader(stream, restval="", strict=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as CSV ({error}); save it as CSV in UTF-8") from error


def _descriptions(folder: ExportFolder) -> dict[str, str]:
    """Names of classes by their codes; the official file has no header."""
    found: dict[str, str] = {}
    for file in folder.with_suffix(".csv"):
        lines = head(file).splitlines()
        if lines and (lines[0].startswith("/m/") or _header(file)[:2] == ["LabelName", "DisplayName"]):
            with open(file, newline="", encoding="utf-8-sig") as stream:  # noqa: PTH123 (a str)
                found |= {row[0].strip(): row[1].strip() for row in csv.reader(stream) if len(row) >= 2}
    found.pop("LabelName", None)
    return found
