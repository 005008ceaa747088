"""CSV tables whose texts no spreadsheet runs as formulas, read back unchanged. Imports nothing heavy."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import IO

_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]")  # the last ones are full-width = + - @
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class CSVWriter:
    """Writes rows; a text that a spreadsheet would run as a formula gets an apostrophe before it.

    These are texts that begin with = + - @, a tab or a carriage return, after any spaces and apostrophes. Numbers
    remain numbers, also where they are given as texts.

    Args:
        file: Opened with `newline=""`.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, cells: Iterable[object]) -> None:
        """Add a row; None is an empty cell."""
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\r\n")  # with "\n" alone, Python before 3.13 does not quote "\r"
        writer.writerow([_inert(cell) if isinstance(cell, str) else cell for cell in cells])
        self._file.write(line.getvalue().removesuffix("\r\n") + "\n")


def read_csv(file: IO[str]) -> Iterator[list[str]]:
    """Rows that `CSVWriter` wrote, with the original texts.

    Raises:
        csv.Error: If the file is not CSV.
    """
    csv.field_size_limit(sys.maxsize)
    for row in csv.reader(file):
        yield [cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell for cell in row]


def _inert(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
