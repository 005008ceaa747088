"""Detections and objects of a measured split, matches_<split>.csv: what two runs are compared by, image by image."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from visiontasks.csv_tables import CSVWriter, read_csv
from visiontasks.errors import InputError
from visiontasks.runs.checkpoint import write_text
from visiontasks.tasks.metrics.match_rows import MatchRow, rows_difference

_COLUMNS = tuple(MatchRow.__annotations__)


def matches_name(split: str, other_data: str = "") -> str:
    """The file's name; `other_data` names data other than the run's own, "_<folder>"."""
    return f"matches_{split}{other_data}.csv"


def write_matches(path: Path, rows: Sequence[MatchRow]) -> None:
    """Write rows, or remove those of an earlier measurement where there are none."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = CSVWriter(text)
    writer.write(_COLUMNS)
    for row in rows:
        writer.write(row.values())
    write_text(path, text.getvalue())


def matches_difference(first: Path, second: Path, places: Sequence[int]) -> tuple[float, float, float] | None:
    """How much higher the second run's average precision is, with its 95 % interval.

    Args:
        first: A run's table.
        second: Another run's table, of the same images.
        places: Place of each image of the first table among those of the second.

    Returns:
        Difference, lower and upper bound; None where a table is missing, as of a task without objects.

    Raises:
        InputError: If a table is damaged.
    """
    if not (first.is_file() and second.is_file()):
        return None
    try:
        return rows_difference(_read(first), _read(second), places)
    except (KeyError, ValueError, csv.Error) as error:
        raise InputError(
            f"{first} or {second} is not a table of matches ({error}): visiontasks evaluate RUN writes it again"
        ) from error


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = read_csv(file)
        return [dict(zip(header, row, strict=True)) for row in rows]
