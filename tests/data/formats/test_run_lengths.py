"""The box around run lengths, by hand."""

from typing import Any

import pytest

from visiontasks.data.formats.run_lengths import run_length_box


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 12], (0, 0, 3, 4)),  # all of 4 rows and 3 columns
        ([5, 2, 5], (1, 1, 2, 3)),  # column 1, rows 1 and 2
        ([3, 2, 7], (0, 0, 2, 4)),  # the last pixel of column 0 and the first of column 1: all rows are between
        ([11, 1], (2, 3, 3, 4)),
        ([0, 1, 10, 1], (0, 0, 3, 4)),
        ([4, 0, 3, 1, 4], (1, 3, 2, 4)),  # an empty run of ones
        ([12], None),
        ([0, 13], None),
        ([], None),
        ([1, -1], None),
        ([1.5], None),
        ("1d0", None),
    ],
)
def test_runs_go_down_the_columns(counts: Any, expected: Any) -> None:
    assert run_length_box(counts, [4, 3]) == expected


def test_compressed_counts_are_differences_from_the_fourth_on() -> None:
    """40 is 8 + 32 * 1: "X" and "1"; then 5, 3, and 7 - 5 = 2, 100 - 3 = 97 = 1 + 32 * 3: "Q" and "3"."""
    assert run_length_box("X1532Q3", [40, 10]) == run_length_box([40, 5, 3, 7, 100], [40, 10]) == (1, 0, 2, 15)


@pytest.mark.parametrize("text", ["X", "X1 32", "~", "é"])
def test_texts_that_are_cut_off_or_have_other_characters_have_no_box(text: str) -> None:
    assert run_length_box(text, [40, 10]) is None


@pytest.mark.parametrize("size", [None, [4], [4, 0], [4, "3"], "43"])
def test_without_a_size_there_is_no_box(size: Any) -> None:
    assert run_length_box([5, 2, 5], size) is None
