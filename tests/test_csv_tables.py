"""No text in a table begins a formula for a spreadsheet, and every text is read back as it was."""

import csv
import io

import pytest

from visiontasks.csv_tables import CSVWriter, read_csv

STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
FORMULAS = ["=1+1", "+1+1", "-2+3|x", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "=cmd|' /C calc'!A0", "-", "-x.png"]
PLAIN = ["cat", "-0.3", "+5", "-1e-05", "1", "'", "'quoted'", "a=b", "", "it's", "a,b", 'c"d', "two\nlines", "-.5"]
QUOTED = ["'=1", "''=1", "' =1", "'-x"]


def table(*cells: object) -> str:
    text = io.StringIO(newline="")
    CSVWriter(text).write(cells)
    return text.getvalue()


@pytest.mark.parametrize("text", FORMULAS + QUOTED)
def test_a_formula_is_written_after_an_apostrophe(text: str) -> None:
    (cell,) = next(csv.reader(io.StringIO(table(text), newline="")))
    assert cell == f"'{text}"
    assert not cell.startswith(STARTS)


def test_numbers_and_other_texts_are_written_as_they_are() -> None:
    assert next(csv.reader(io.StringIO(table(*PLAIN), newline=""))) == PLAIN
    assert table(-0.3, 5, None, -1) == "-0.3,5,,-1\n"


def test_every_text_comes_back() -> None:
    cells = [*FORMULAS, *PLAIN, *QUOTED]
    assert list(read_csv(io.StringIO(table(*cells) + table(*cells), newline=""))) == [cells, cells]
