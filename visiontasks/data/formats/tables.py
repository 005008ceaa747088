"""CSV files with a line for each object: of keras-retinanet, TensorFlow, Roboflow, VoTT, DeepForest, or path-label-box.

Numbers are corners in pixels, edges counting from 0, or with the columns x, y, width, height the upper left corner and
the size. keras-retinanet's lines without a header are path, x1, y1, x2, y2, class; a class may be a number. Of five
numbers the class is the last or the first one, as whichever the other four are corners in order, in more of the lines;
where they are both ways, the one that has fewer different values, which classes have and coordinates have not.
See https://github.com/fizyr/keras-retinanet#csv-datasets.
"""

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from visiontasks.class_names import normalized
from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.box_reading import Reading
from visiontasks.data.formats.documents import head
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export, Found, size_of
from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.pipeline.files import is_image
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError
from visiontasks.regular_files import check_regular

_PATHS = ("path", "filename", "file_name", "image_path", "image", "image_name", "file", "filepath", "img", "image_id")
_LABELS = ("label", "class", "class_name", "category", "labelname", "label_name", "name", "object")
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"))
_SIZES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("bbox_x", "bbox_y", "bbox_width", "bbox_height"))
_SPLITS = ("split", "set", "subset")
_DELIMITERS = ",;\t|"
_FIRST_LINES = 20
_ORDERS = ((5, (1, 2, 3, 4)), (1, (2, 3, 4, 5)))
"""Columns of class and box in lines without names."""


@dataclass(frozen=True)
class Columns:
    """Where a table's lines have what.

    Args:
        path: Number of the column with the image.
        label: That of the class.
        box: Those of the four numbers.
        reading: What the numbers are.
        delimiter: Between columns.
        has_header: Whether the first line names the columns.
        split: Column of the split, if there is one.
        size: Columns of the image's height and width, if there are.
    """

    path: int
    label: int
    box: tuple[int, ...]
    reading: Reading
    delimiter: str
    has_header: bool
    split: int | None = None
    size: tuple[int, int] | None = None


class Tables:
    """Reads CSV files of boxes, a line for each object, with or without a line of column names.

    A line with a path and no class and box is an image without an object. A column `split` (or `set`, `subset`) gives
    the splits, else the name of the file or its folder. A file of class and number beside it, such as keras-retinanet's
    classes.csv, gives the order of the classes.
    """

    name: ClassVar[str] = "csv"
    title: ClassVar[str] = "CSV"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        files = folder.matching(lambda file: columns_of(file) is not None, ".csv")
        if not files:
            return None
        columns = columns_of(files[0])
        order = "path, class, x1, y1, x2, y2" if columns and columns.label == 1 else "path, x1, y1, x2, y2, class"
        what = "columns of boxes" if columns and columns.has_header else f"lines of {order}"
        return Found(tuple(files), f"{folder.shown(files[0])} has {what}")

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`.

        Raises:
            InputError: If the tables have boxes of different kinds.
        """
        tables = {file: columns for file in found.files if (columns := columns_of(file))}
        first, *others = tables.items()
        for file, columns in others:
            if columns.reading != first[1].reading:
                raise InputError(
                    f"{first[0]} has boxes as {first[1].reading}, {file} as {columns.reading}; write all in one form"
                )
        export = Export(folder, first[1].reading)
        images: dict[tuple[str, str], AnnotatedImage] = {}
        for file, columns in tables.items():
            for number, row in _rows(file, columns):
                _add_row(export, images, file, number, row, columns)
        export.add_unlisted(found.files)
        export.class_names = _name_classes(folder, images.values())
        return export


def columns_of(file: str) -> Columns | None:
    """What a table's columns are; None if it has no boxes."""
    lines = [line for line in head(file).splitlines()[:_FIRST_LINES] if line.strip()]
    if not lines:
        return None
    delimiter = max(_DELIMITERS, key=lines[0].count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:
        return None
    return _named(rows[0], delimiter) or _unnamed(rows[:-1] or rows, delimiter)


def _named(header: Sequence[str], delimiter: str) -> Columns | None:
    """Columns by their names."""
    at = {name.casefold(): number for number, name in reversed(list(enumerate(header)))}
    path = next((at[name] for name in _PATHS if name in at), None)
    label = next((at[name] for name in _LABELS if name in at and at[name] != path), None)
    corners, sized = (next((n for n in names if set(n) <= set(at)), None) for names in (_CORNERS, _SIZES))
    names = corners or sized
    if path is None or label is None or names is None:
        return None
    split = next((at[name] for name in _SPLITS if name in at), None)
    size = (at["height"], at["width"]) if corners and {"height", "width"} <= set(at) else None
    reading = Reading("xyxy" if corners else "xywh")
    return Columns(path, label, tuple(at[name] for name in names), reading, delimiter, True, split, size)


def _unnamed(rows: Sequence[Sequence[str]], delimiter: str) -> Columns | None:
    """Columns of a table whose lines are objects and images without any, more than half of them without a mistake."""
    named = [row for row in rows if len(row) == 6 and is_image(row[0])]
    filled = [row for row in named if any(row[1:])]
    if 2 * len(named) <= len(rows):
        return None
    orders = [Columns(0, label, box, Reading(), delimiter, False) for label, box in _ORDERS]
    if not filled:
        return orders[0]
    by_name = [sum(_is_box(row, each) and not _is_number(row[each.label]) for row in filled) for each in orders]
    by_number = [sum(_is_box(row, each) and row[each.label].isdigit() for row in filled) for each in orders]
    for fitting in (by_name, by_number):
        if 2 * max(fitting) > len(filled):
            values = [len({row[each.label] for row in filled}) for each in orders]
            return min(zip(orders, fitting, values, strict=True), key=lambda each: (-each[1], each[2]))[0]
    return None


def _is_box(row: Sequence[str], columns: Columns) -> bool:
    """Whether a row has numbers where its box is, which are corners in order if its class is a number too."""
    box = [row[column] for column in columns.box]
    if not all(map(_is_number, box)):
        return False
    x1, y1, x2, y2 = map(float, box)
    return not _is_number(row[columns.label]) or (x1 < x2 and y1 < y2)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(file: str, columns: Columns) -> Iterator[tuple[int, list[str]]]:
    """The lines of a table with their numbers."""
    check_regular(file)
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:  # noqa: PTH123 (a str)
            reader = csv.reader(stream, delimiter=columns.delimiter, skipinitialspace=True, strict=True)
            for row in reader:
                if (reader.line_num > 1 or not columns.has_header) and any(cell.strip() for cell in row):
                    yield reader.line_num, [cell.strip() for cell in row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as CSV ({error}); save it as CSV in UTF-8") from error


def _add_row(
    export: Export,
    images: dict[tuple[str, str], AnnotatedImage],
    file: str,
    number: int,
    row: Sequence[str],
    columns: Columns,
) -> None:
    place = f"{file} line {number}"
    expected = max(columns.path, columns.label, *columns.box)
    written = row[columns.path] if len(row) > columns.path else ""
    split = _split(row, columns) or export.folder.split_of_file(file)
    size = None
    if columns.size and len(row) > max(columns.size):
        size = size_of({"height": row[columns.size[0]], "width": row[columns.size[1]]})
    image = images.get((split, written))
    if image is None:
        image = images[split, written] = export.add(written, file, place, split=split, size=size)
    if len(row) <= expected:
        image.problems.append(Problem(place, f"{len(row)} values, expected {expected + 1}", "correct the line"))
        return
    numbers: Mapping[str, object] = dict(zip(_box_names(columns), (row[c] for c in columns.box), strict=True))
    if row[columns.label] or any(numbers.values()):
        image.add_object(place, row[columns.label], numbers)


def _box_names(columns: Columns) -> tuple[str, ...]:
    return ("x1", "y1", "x2", "y2") if columns.reading.format == "xyxy" else ("x", "y", "width", "height")


def _split(row: Sequence[str], columns: Columns) -> str:
    if columns.split is None or len(row) <= columns.split:
        return ""
    means = split_of(row[columns.split])
    return means[0] if means and means[0] in SPLITS else ""


def _name_classes(folder: ExportFolder, images: Collection[AnnotatedImage]) -> list[str]:
    """The classes by a file of class and number that has all of them; empty without one.

    Objects whose class is written as its number get the name.
    """
    found = {name for image in images for name in image.names}
    for file in folder.sample(".csv"):
        lines = [line for line in csv.reader(head(file).splitlines()) if line]
        if not lines or not all(len(line) == 2 and line[1].strip().isdigit() for line in lines):
            continue
        name_of = {str(int(number)): normalized(name.strip()) for name, number in lines}
        names = [name_of[number] for number in sorted(name_of, key=int)]
        if found <= set(names):
            return names
        if found <= set(name_of):
            for image in images:
                image.names = [name_of[number] for number in image.names]
            return names
    return []
