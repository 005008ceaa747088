"""The pixels of a measured split by true and predicted class, confusion_<split>.csv: written whole and read again."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from visiontasks.csv_tables import CSVWriter, read_csv
from visiontasks.errors import InputError
from visiontasks.runs.checkpoint import write_text

CORNER = "true \\ predicted"
"""The header's first cell."""


@dataclass(frozen=True)
class Confusion:
    """Counts of pixels.

    Args:
        class_names: By class index, K.
        counts: By true (row) and predicted class, (K, K).
    """

    class_names: Sequence[str]
    counts: Sequence[Sequence[int]]


def confusion_name(split: str, other_data: str = "") -> str:
    """The file's name; `other_data` names data other than the run's own, "_<folder>"."""
    return f"confusion_{split}{other_data}.csv"


def write_confusion(path: Path, counts: Tensor, class_names: Sequence[str]) -> None:
    """Write counts as a table with the classes' names above and before it.

    Args:
        path: The CSV file.
        counts: By true (row) and predicted class, int64 (K, K).
        class_names: K.
    """
    text = io.StringIO()
    writer = CSVWriter(text)
    writer.write([CORNER, *class_names])
    for name, row in zip(class_names, counts.tolist(), strict=True):
        writer.write([name, *row])
    write_text(path, text.getvalue())


def read_confusion(path: Path) -> Confusion:
    """Read what `write_confusion` wrote.

    Raises:
        InputError: If it is not a square of counts with the same names in header and first column.
    """
    with path.open(newline="", encoding="utf-8") as file:
        try:
            (_, *names), *rows = read_csv(file)
            found = [name for name, *_ in rows]
            counts = [[int(value) for value in values] for _, *values in rows]
        except (ValueError, csv.Error) as error:
            raise InputError(_fault(path, str(error))) from error
    if found != names or any(len(row) != len(names) for row in counts):
        raise InputError(_fault(path, f"{len(counts)} rows for {len(names)} columns, or other names"))
    if any(count < 0 for row in counts for count in row):
        raise InputError(_fault(path, "a count below 0"))
    return Confusion(names, counts)


def _fault(path: Path, why: str) -> str:
    return f"{path} is not a table of counts by class ({why}): visiontasks evaluate {path.parent} writes it again"
