"""The table of a measured split, predictions_<split>.csv: a row for each sample, written whole and read again."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

import numpy as np
from torch import Tensor

from visiontasks.csv_tables import CSVWriter, read_csv
from visiontasks.data import DataModule, Source, sample_name
from visiontasks.data.pipeline.geometry import place
from visiontasks.data.pipeline.sources import original_size
from visiontasks.errors import InputError, MissingFileError
from visiontasks.runs.checkpoint import write_text

CORNERS = ("x1", "y1", "x2", "y2")
Key = tuple[str, str, int]
"""A sample's name, its label ("" without one) and which of the samples that share these it is."""


@dataclass(frozen=True)
class Samples:
    """What was measured of each sample of a split, in the order of the split.

    Args:
        sample: File names, or indices where samples come from no file of their own.
        score: What the task scores a sample by; NaN where there was no truth.
        label: Name of the true class; None for a task without one for each image.
        predicted: Name of the most probable class, empty where the network said no number; None without classes.
        probability: That class's probability; None without classes.
    """

    sample: Sequence[str]
    score: Sequence[float]
    label: Sequence[str] | None = None
    predicted: Sequence[str] | None = None
    probability: Sequence[float] | None = None

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def keys(self) -> list[Key]:
        """What tells the samples apart, in two runs or in a dataset."""
        return keys_of(self.sample, self.label or [""] * len(self))

    @property
    def is_right(self) -> list[bool] | None:
        """Whether each sample's class was found; None without classes."""
        if self.label is None or self.predicted is None:
            return None
        return [label == predicted for label, predicted in zip(self.label, self.predicted, strict=True)]


def keys_of(names: Sequence[str], labels: Sequence[str]) -> list[Key]:
    """Keys of samples; names alone are not enough: cats/1.jpg and dogs/1.jpg have the same."""
    seen: Counter[tuple[str, str]] = Counter()
    keys = []
    for pair in zip(names, labels, strict=True):
        keys.append((*pair, seen[pair]))
        seen[pair] += 1
    return keys


def table_name(split: str, other_data: str = "") -> str:
    """The file's name; `other_data` says of which data but the run's own it is, "_<folder>"."""
    return f"predictions_{split}{other_data}.csv"


def write_samples(path: Path, table: Mapping[str, Tensor], data: DataModule, split: str) -> None:
    """Write what a task found of each sample.

    Columns: `sample`; `label`, `predicted`, `probability`, as far as the task has them; `score`; of one box for each
    image `x1`, `y1`, `x2`, `y2` in pixels of the original image, not cut to it. A number that is none is left empty.

    Args:
        path: The CSV file.
        table: What `Task.sample_table` gives.
        data: Has the split.
        split: "test" or "val".
    """
    source = data.source(split)
    rows = table["index"].tolist()
    columns: dict[str, list[str]] = {"sample": sample_names(source, rows)}
    if "predicted" in table or "box" in table:
        columns["label"] = [data.class_names[label] for label in source.labels[rows].tolist()]
    if "predicted" in table:
        columns["predicted"] = [data.class_names[k] if k >= 0 else "" for k in table["predicted"].tolist()]
        columns["probability"] = [_number(value) for value in table["probability"].tolist()]
    columns["score"] = [_number(value) for value in table["score"].tolist()]
    if "box" in table:
        columns |= _corners(table["box"], rows, data, source)
    text = io.StringIO()
    writer = CSVWriter(text)
    for cells in (columns, *zip(*columns.values(), strict=True)):
        writer.write(cells)
    write_text(path, text.getvalue())


def sample_names(source: Source, rows: Sequence[int]) -> list[str]:
    """Names of samples as the table has them: bytes of a file's name that are no UTF-8 are spelled out."""
    return [sample_name(source, row).encode(errors="backslashreplace").decode() for row in rows]


def read_samples(path: Path) -> Samples:
    """Read what `write_samples` wrote.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it has not the columns, or something else than numbers in them.
    """
    if not path.is_file():
        raise MissingFileError(f"no {path}: visiontasks evaluate {path.parent} writes it")
    try:
        columns = _read_columns(path)
        numbers = {
            name: [float(value) if value else nan for value in columns[name]]
            for name in ("score", "probability")
            if name in columns
        }
        return Samples(
            columns["sample"],
            numbers["score"],
            columns.get("label"),
            columns.get("predicted"),
            numbers.get("probability"),
        )
    except (KeyError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path} is no table of predictions ({error}): visiontasks evaluate {path.parent} writes it anew"
        ) from error


def _read_columns(path: Path) -> dict[str, list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = read_csv(file)
        header = next(rows, [])
        columns = list(zip(*rows, strict=True)) or [() for _ in header]
        return {name: list(column) for name, column in zip(header, columns, strict=True)}


def _corners(box: Tensor, rows: Sequence[int], data: DataModule, source: Source) -> dict[str, list[str]]:
    """Predicted boxes (n, 4) in pixels of the samples' own images."""
    boxes = box.float().cpu().numpy()
    placements = [place(original_size(source, row), data.image_size, data.resize) for row in rows]
    pixels = [placement.original_boxes(boxes[i] * placement.unit) for i, placement in enumerate(placements)]
    corners = np.array(pixels, dtype=np.float64).reshape(-1, 4)
    return {name: ["" if isnan(x) else f"{x:.2f}" for x in corners[:, i].tolist()] for i, name in enumerate(CORNERS)}


def _number(value: float) -> str:
    """Nine digits, which tell each float32 from the next."""
    return "" if isnan(value) else f"{value:.9g}"
