"""The user's own boxes in a table: a line of a CSV file for each object."""

import csv as csv_format
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from visiontasks.data.datasets.boxes import BoxData
from visiontasks.data.formats.annotations import AnnotatedImage, check_split_names, natural_classes, path_inside
from visiontasks.data.formats.layouts import layout_hint
from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError, MissingFileError
from visiontasks.regular_files import check_regular

_CORNERS = ("x1", "y1", "x2", "y2")
_COLUMNS = ("path", "label", *_CORNERS)
_SPLIT = "split"
_ALIASES = ("set", "subset", "partition", "phase", "fold", "usage", "mode", "dataset")
"""Columns that may hold splits; passed over they would put test images into training."""
_SURPLUS = "values without a column"


class CSVBoxes(BoxData):
    """Images with boxes from a CSV file with the columns path, label, x1, y1, x2, y2.

    The first line names the columns, in any order; others beside them are passed over. `path` is an image file under
    root, `label` its class; x1, y1, x2, y2 are corners in pixels, or what `box_format` and `box_unit` make of them.
    Several lines with one path are several objects of it. Only images in the file belong to the dataset; one whose
    label and numbers are empty has no object and is a bad sample.

    A column `split` with train, val or test in each line divides the images; else `splits` may name a CSV file for
    each split. What is missing of validation and test is split off train, see `BoxData`. Classes are in natural order,
    class2 before class10.

    Args:
        root: The folder.
        csv: The file, under root.
        splits: The file of each split in place of `csv`, under root, like {"train": "train.csv", "test": "test.csv"}.
        **kwargs: Arguments of `BoxData`.

    Raises:
        InputError: If a value is out of range, or a class is named twice.
    """

    def __init__(
        self,
        root: str,
        *,
        csv: str = "boxes.csv",
        splits: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        check_split_names(splits or {}, "data.init_args.splits")
        self.csv = csv
        self.splits = splits

    def read_annotations(self) -> tuple[dict[str, list[AnnotatedImage]], list[str]]:
        """Read the CSV files.

        Raises:
            MissingFileError: If a file is not there.
            InputError: If its columns are not as the class says, or a line has no path or no split.
        """
        images: dict[str, dict[str, AnnotatedImage]] = {}
        for split, name in (self.splits or {"": self.csv}).items():
            self._read_file(self.root / name, split, images)
        splits = {split: list(images[split].values()) for split in SPLITS if split in images}
        return splits, natural_classes(splits)

    def _read_file(self, file: Path, split: str, images: dict[str, dict[str, AnnotatedImage]]) -> None:
        """Add a file's images to those of its split, or of its lines' splits where it has none of its own."""
        faults = []
        for number, row in _rows(file):
            other = next((name for name in row if name.casefold() in _ALIASES and _split(row[name]) in SPLITS), None)
            if other and _SPLIT not in row and not split:
                raise InputError(
                    f"{file}: line {number} has {other} {row[other]!r}: call the column {_SPLIT}, or remove it"
                )
            if split and _SPLIT in row:
                raise InputError(f"{file}: has a column split; remove it, or give one file as data.init_args.csv")
            row_split = split or _split(row.get(_SPLIT, "train"))
            if not row["path"]:
                faults.append(f"line {number} has no path")
            elif row_split not in SPLITS:
                faults.append(f"line {number} has split {row_split!r}")
            else:
                path = path_inside(self.root, self.root, row["path"])
                image = AnnotatedImage(path or "", str(file))
                if path is None:
                    what = f"path {row['path']!r:.100} is not a path below {self.root}/"
                    image.problems.append(Problem(f"{file} line {number}", what, "copy the image there and correct it"))
                image = images.setdefault(row_split, {}).setdefault(path or row["path"], image)
                _add_line(image, f"{file} line {number}", row)
        if faults:
            raise InputError(
                f"{file}: {listed(faults)}; expected the path of an image, and {', '.join(SPLITS)} as split"
            )


def _split(written: str) -> str:
    """The split that a value such as Training or valid means, or what is written."""
    meant = split_of(written)
    return meant[0] if meant and not meant[1] else written


def _header_fault(header: Sequence[str]) -> str:
    """What the first line of a table that cannot be read is like, and what to do."""
    for name, delimiter in (("semicolons", ";"), ("tabs", "\t"), ("vertical bars", "|")):
        parts = [part.strip() for part in delimiter.join(header).split(delimiter)]
        if len(header) < len(_COLUMNS) <= len(parts) and set(_COLUMNS) <= set(parts):
            return f"its columns are separated by {name}: save it with commas, and decimals with a point"
    if len(header) < len(_CORNERS) and not set(_CORNERS) & set(header):
        return "it has no boxes; where it lists labels, move the images into one folder for each (recipe folder_resnet)"
    return "name the columns so"


def _add_line(image: AnnotatedImage, place: str, row: dict[str, str]) -> None:
    if _SURPLUS in row:
        fix = "put texts with commas in quotes, write decimals with a point"
        image.problems.append(Problem(place, "more values than columns", fix))
    elif any(row[column] for column in _COLUMNS[1:]):
        image.add_object(place, row["label"], {corner: row[corner] for corner in _CORNERS})


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a CSV file with their numbers, as texts by column."""
    check_regular(file)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv_format.DictReader(stream, restkey=_SURPLUS, restval="", skipinitialspace=True, strict=True)
            header = [name.strip() for name in reader.fieldnames or []]
            header = [_SPLIT if name.casefold() == _SPLIT else name for name in header]
            missing = [column for column in _COLUMNS if column not in header]
            if missing or len(set(header)) < len(header):
                raise InputError(
                    f"{file}: the first line is {','.join(header)!r}, expected the columns {','.join(_COLUMNS)}, each "
                    f"once and separated by commas; {_header_fault(header)}"
                )
            reader.fieldnames = header
            for row in reader:
                yield reader.line_num, {column: str(value).strip() for column, value in row.items()}
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no file {file}: point --data.init_args.root at the folder that holds it, or name it (data.init_args.csv)"
            f"{layout_hint(file.parent)}"
        ) from error
    except (OSError, UnicodeDecodeError, csv_format.Error) as error:
        raise InputError(f"{file}: cannot be read as CSV ({error}); save it as CSV in UTF-8") from error
