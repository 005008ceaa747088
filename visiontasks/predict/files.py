"""What predictions become: rows of a CSV or JSON file, masks and drawn pictures as files, lines on the terminal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from PIL import Image

from visiontasks.csv_tables import CSVWriter
from visiontasks.data.pipeline.reader import UInt8Array, read_image
from visiontasks.errors import InputError
from visiontasks.predict.predictor import ClassProbability, Prediction
from visiontasks.report import Picture
from visiontasks.report.overlays import palette
from visiontasks.report.single import draw_prediction, save_picture
from visiontasks.results.samples import CORNERS
from visiontasks.runs.checkpoint import unfinished

Row = dict[str, Any]

FORMATS = (".csv", ".json")
JPEG_QUALITY = 90


def rows_of(prediction: Prediction, mask: str | None) -> Iterator[Row]:
    """A row for an image, or for each of its objects; what it has not is left out.

    Args:
        prediction: What is said of the image.
        mask: Where its mask is written.

    Yields:
        `image`, `predicted`, `probability`, `class_2`, `probability_2` and so on, `x1`, `y1`, `x2`, `y2` in pixels,
        `mask`, `error`.
    """
    row: Row = {"image": prediction.name}
    if prediction.error is not None:
        yield {**row, "error": prediction.error}
        return
    row |= {"mask": mask} if mask is not None else {}
    for box in prediction.boxes:
        edges = {name: round(getattr(box, name), 2) for name in CORNERS}
        yield {**row, **_class_columns(box.classes), **edges}
    if not prediction.boxes:
        yield {**row, **_class_columns(prediction.classes)}


def columns(*, num_classes: int, has_boxes: bool, has_masks: bool) -> list[str]:
    """The columns of all rows, in their order.

    Args:
        num_classes: How many classes are named in a row.
        has_boxes: Whether there are boxes.
        has_masks: Whether there are masks.
    """
    names = ["image", *_class_columns([ClassProbability("", 0.0)] * num_classes)]
    return [*names, *(CORNERS if has_boxes else ()), *(("mask",) if has_masks else ()), "error"]


class CSVRows:
    """Rows that are in the file as soon as they are written, so that an interruption leaves those before it.

    Args:
        path: The file; what was there is replaced.
        columns: Of all rows.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        # file names that are no UTF-8 keep their bytes
        self._file: IO[str] = path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        self._columns = list(columns)
        self._writer = CSVWriter(self._file)
        self._writer.write(self._columns)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def write(self, row: Row) -> None:
        """Add a row; columns that it lacks are empty."""
        self._writer.write(row.get(name) for name in self._columns)
        self._file.flush()

    def __exit__(self, *what: object) -> None:
        self._file.close()


class JSONRows:
    """A list of objects, which stands under its name when it is whole; an interruption leaves what was there before.

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
        """Add a row; columns that it lacks are null."""
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
        while name.casefold() in self._taken:  # not every system tells a.jpg and A.jpg apart
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.casefold())
        path = self.folder / (name + self.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def save_mask(mask: UInt8Array, path: Path, class_names: Sequence[str]) -> None:
    """Write class indices (H, W) as a PNG whose palette has the classes' colours, as PASCAL VOC's masks are."""
    image = Image.fromarray(mask)
    image.putpalette(palette(class_names))
    save_picture(image, path)


def save_drawn(prediction: Prediction, path: Path, class_names: Sequence[str], *, max_16bit: int | None = None) -> None:
    """Draw a prediction into its picture, which is read again, and write it as a JPEG.

    Args:
        prediction: Of a file.
        path: The JPEG.
        class_names: By class index.
        max_16bit: Largest value of 16-bit images, as for `read_image`.
    """
    image = read_image(prediction.name, max_16bit=max_16bit)
    height, width = image.shape[:2]
    boxes = [[box.x1 / width, box.y1 / height, box.x2 / width, box.y2 / height] for box in prediction.boxes]
    picture = Picture(image, prediction.name, predicted_boxes=boxes or None, predicted_mask=prediction.mask)
    drawn = draw_prediction(picture, class_names=class_names, lines=_caption(prediction))
    save_picture(drawn, path, quality=JPEG_QUALITY)


def line_of(prediction: Prediction, class_names: Sequence[str], *, width: int) -> str:
    """A line for a person: the image, its classes or how much of it each class takes, and its boxes.

    Args:
        prediction: What is said of the image.
        class_names: By class index.
        width: Of the image's name, which is not cut.
    """
    parts = [prediction.name.ljust(width)]
    if prediction.error is not None:
        return "  ".join([*parts, f"error: {prediction.error}"])
    parts += [_shares(prediction.mask, class_names)] if prediction.mask is not None else []
    parts += _class_lines(prediction)
    return "  ".join(parts)


def _caption(prediction: Prediction) -> list[str]:
    """A line for each class, or the surest class of each box."""
    if not prediction.boxes:
        return [_listed([each]) for each in prediction.classes]
    return _class_lines(
        replace(prediction, boxes=tuple(replace(box, classes=box.classes[:1]) for box in prediction.boxes))
    )


def _class_lines(prediction: Prediction) -> list[str]:
    """Classes, and where there are boxes a line for each."""
    if not prediction.boxes:
        return [_listed(prediction.classes)] if prediction.classes else []
    lines = []
    for box in prediction.boxes:
        edges = f"box {box.x1:.0f} {box.y1:.0f} {box.x2:.0f} {box.y2:.0f}"
        lines.append("  ".join([_listed(box.classes), edges] if box.classes else [edges]))
    return lines


def _listed(classes: Sequence[ClassProbability]) -> str:
    return "  ".join(f"{each.name} {each.probability:.3f}" for each in classes)


def _shares(mask: UInt8Array, class_names: Sequence[str]) -> str:
    share = np.bincount(mask.ravel(), minlength=len(class_names)) / mask.size
    order = np.argsort(-share, kind="stable")
    return "  ".join(f"{class_names[k]} {share[k]:.1%}" for k in order if share[k] > 0)


def _class_columns(classes: Sequence[ClassProbability]) -> Mapping[str, Any]:
    found: Row = {}
    for rank, each in enumerate(classes, start=1):
        name, probability = ("predicted", "probability") if rank == 1 else (f"class_{rank}", f"probability_{rank}")
        found |= {name: each.name, probability: round(each.probability, 6)}
    return found
