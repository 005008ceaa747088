"""The table of a measured split, predictions_<split>.csv: a row for each sample, written whole and read again."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any

from torch import Tensor

from visiontasks import tasks
from visiontasks.csv_tables import CSVWriter, read_csv
from visiontasks.data import DataModule, Source, sample_name
from visiontasks.errors import InputError, MissingFileError
from visiontasks.outputs import CORNERS
from visiontasks.report import Score
from visiontasks.runs.checkpoint import write_text
from visiontasks.tasks import Task

_TEXTS = ("sample", "label", "predicted")
"""Columns that are not numbers."""
Key = tuple[str, str, int]
"""A sample's name, its label ("" without one) and which of the samples that share these it is."""


@dataclass(frozen=True)
class Samples:
    """The samples of a measured split, in its order.

    Args:
        sample: File names, or indices where samples come from no file of their own.
        score: Score of each sample; NaN where its truth is missing.
        label: Name of the true class; None for a task without one class for each image.
        predicted: Name of the most probable class, empty where the prediction is NaN; None without classes.
        probability: That class's probability; None without classes.
        numbers: All columns of numbers by name, NaN where a cell is empty.
    """

    sample: Sequence[str]
    score: Sequence[float]
    label: Sequence[str] | None = None
    predicted: Sequence[str] | None = None
    probability: Sequence[float] | None = None
    numbers: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def keys(self) -> list[Key]:
        """What distinguishes the samples, in two runs or in a dataset."""
        return keys_of(self.sample, self.label or [""] * len(self))

    @property
    def is_right(self) -> list[bool] | None:
        """Whether each sample's class was found; None without classes."""
        if self.label is None or self.predicted is None:
            return None
        return [label == predicted for label, predicted in zip(self.label, self.predicted, strict=True)]


def score_of(result: Mapping[str, Any]) -> Score:
    """What the scores of a run's samples are, also of a result that an older version wrote without it."""
    if "score" in result:
        return Score(result["score"]["name"], result["score"]["measures"])
    task = getattr(tasks, str(result.get("task")), Task)  # those of others have the defaults
    return Score(task.score_name, task.score_measures)


def keys_of(names: Sequence[str], labels: Sequence[str]) -> list[Key]:
    """Keys of samples; names alone are not enough: cats/1.jpg and dogs/1.jpg have the same."""
    counts: Counter[tuple[str, str]] = Counter()
    keys = []
    for pair in zip(names, labels, strict=True):
        keys.append((*pair, counts[pair]))
        counts[pair] += 1
    return keys


def table_name(split: str, other_data: str = "") -> str:
    """The file's name; `other_data` names data other than the run's own, "_<folder>"."""
    return f"predictions_{split}{other_data}.csv"


def write_samples(path: Path, table: Mapping[str, Tensor], data: DataModule, split: str) -> None:
    """Write the table of a measured split.

    Columns: `sample`, and the task's own in its order: integers are class indices, written as names, and -1 and NaN are
    left empty. Corners are in pixels of the original image, not cut to it.

    Args:
        path: The CSV file.
        table: What `Task.sample_table` gives.
        data: Has the split.
        split: "test" or "val".
    """
    columns = {"sample": sample_names(data.source(split), table["index"].tolist())}
    for name, values in table.items():
        if name != "index":
            columns[name] = _cells(name, values, data.class_names)
    text = io.StringIO()
    writer = CSVWriter(text)
    for cells in (columns, *zip(*columns.values(), strict=True)):
        writer.write(cells)
    write_text(path, text.getvalue())


def sample_names(source: Source, rows: Sequence[int]) -> list[str]:
    """Names of samples as the table has them: bytes of a file's name that are not UTF-8 are escaped."""
    return [sample_name(source, row).encode(errors="backslashreplace").decode() for row in rows]


def read_samples(path: Path) -> Samples:
    """Read what `write_samples` wrote.

    Raises:
        MissingFileError: If the file is missing.
        InputError: If it has not the columns, or something else than numbers in them.
    """
    if not path.is_file():
        raise MissingFileError(f"no {path}: visiontasks evaluate {path.parent} writes it")
    try:
        columns = _read_columns(path)
        numbers = {
            name: [float(value) if value else nan for value in cells]
            for name, cells in columns.items()
            if name not in _TEXTS
        }
        return Samples(
            columns["sample"],
            numbers["score"],
            columns.get("label"),
            columns.get("predicted"),
            numbers.get("probability"),
            numbers,
        )
    except (KeyError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path} is not a table of predictions ({error}): visiontasks evaluate {path.parent} writes it again"
        ) from error


def _read_columns(path: Path) -> dict[str, list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = read_csv(file)
        header = next(rows, [])
        columns = list(zip(*rows, strict=True)) or [() for _ in header]
        return {name: list(column) for name, column in zip(header, columns, strict=True)}


def _cells(name: str, values: Tensor, class_names: Sequence[str]) -> list[str]:
    if not values.is_floating_point():
        return [class_names[k] if k >= 0 else "" for k in values.tolist()]
    # Nine digits distinguish each float32 from the next; pixels need no more than hundredths.
    form = ".2f" if name in CORNERS else ".9g"
    return ["" if isnan(value) else f"{value:{form}}" for value in values.tolist()]
