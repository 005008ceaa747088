"""Predictions as rows of a CSV or JSON file, as drawn pictures, and as lines on the terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

from visiontasks.csv_tables import CSVWriter
from visiontasks.data.pipeline.reader import read_image
from visiontasks.errors import InputError
from visiontasks.predict.predictor import Prediction
from visiontasks.report.single import draw_prediction, save_picture
from visiontasks.runs.checkpoint import unfinished

Row = dict[str, Any]

FORMATS = (".csv", ".json")
JPEG_QUALITY = 90


def rows_of(prediction: Prediction, file: str | None) -> list[Row]:
    """A row for an image, or for each of its objects.

    Args:
        prediction: Of the image.
        file: Where the picture of its prediction is stored, as of a mask.

    Returns:
        `image`, the output's own columns, `error`; those without a value are missing.
    """
    row: Row = {"image": prediction.name}
    if prediction.output is None:
        return [{**row, "error": prediction.error}]
    rows = prediction.output.rows(prediction.class_names, top=prediction.top, file=file)
    return [{**row, **values} for values in rows]


class CSVRows:
    """Rows that are in the file as soon as they are written, so that an interruption leaves those before it.

    Args:
        path: The file; what was there is replaced.
        columns: Of all rows.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        # file names that are not UTF-8 keep their bytes
        self._file: IO[str] = path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        self._columns = list(columns)
        self._writer = CSVWriter(self._file)
        self._writer.write(self._columns)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def write(self, row: Row) -> None:
        """Add a row; its missing columns are empty, several names are joined by "or"."""
        values = (row.get(name) for name in self._columns)
        self._writer.write(" or ".join(value) if isinstance(value, list) else value for value in values)
        self._file.flush()

    def __exit__(self, *what: object) -> None:
        self._file.close()


class JSONRows:
    """A list of objects, which gets its name once it is complete; an interruption leaves the former file.

    Args:
        path: The file; what was there is replaced.
        columns: Of all rows.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = list(columns)
        self._beside = unfinished(path.with_name("rows"))
        self._file = self._beside.open("w", encoding="utf-8")
        self._between = "[\n"

    def __enter__(self) -> Self:
        return self

    def write(self, row: Row) -> None:
        """Add a row; its missing columns are null."""
        self._file.write(self._between + json.dumps({name: row.get(name) for name in self.columns}))
        self._between = ",\n"

    def __exit__(self, kind: type[BaseException] | None, *what: object) -> None:
        self._file.write("\n]\n" if self._between == ",\n" else "[]\n")
        self._file.close()
        if kind is None:
            self._beside.replace(self.path)
        else:
            self._beside.unlink(missing_ok=True)


def row_file(path: Path, columns: Sequence[str]) -> CSVRows | JSONRows:
    """Open a file of rows by its suffix; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return (CSVRows if path.suffix.lower() == ".csv" else JSONRows)(path, columns)


def check_format(path: Path) -> None:
    """Check the name of a file of rows.

    Raises:
        InputError: If its suffix is not that of a known format, or it is a folder.
    """
    if path.suffix.lower() not in FORMATS or path.is_dir():
        raise InputError(f"--out {path}: expected a file that ends in {' or '.join(FORMATS)}")


class FreeNames:
    """Files below a folder, none of which has a name twice.

    Args:
        folder: Where they will be.
        suffix: Of all of them.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder = folder
        self.suffix = suffix
        self._taken: set[str] = set()

    def path(self, below: Path) -> Path:
        """The path of a file that is made from another one; its folder is made. A name that is taken gets a number.

        Args:
            below: Where the other one lies, relative.
        """
        stem, number = below.with_suffix(""), 1
        name = str(stem)
        while name.casefold() in self._taken:  # not every system distinguishes a.jpg and A.jpg
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.casefold())
        path = self.folder / (name + self.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def save_drawn(prediction: Prediction, path: Path, *, max_16bit: int | None = None) -> None:
    """Draw a prediction into its image, which is read again, and write it as a JPEG.

    Args:
        prediction: Of a file.
        path: The JPEG.
        max_16bit: Largest value of 16-bit images, as for `read_image`.
    """
    if prediction.output is None:
        return
    image = read_image(prediction.name, max_16bit=max_16bit)
    save_picture(draw_prediction(image, prediction.output, prediction.class_names), path, quality=JPEG_QUALITY)


def line_of(prediction: Prediction, *, width: int) -> str:
    """A line for a person: the image and its prediction.

    Args:
        prediction: Of the image.
        width: Of the image's name, which is not cut.
    """
    name = prediction.name.ljust(width)
    if prediction.output is None:
        return f"{name}  error: {prediction.error}"
    return "  ".join([name, *prediction.output.lines(prediction.class_names, top=prediction.top)])
