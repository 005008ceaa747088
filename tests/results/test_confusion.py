"""Pixels by true and predicted class as a table: written, read again, and damaged ones named."""

import csv
from pathlib import Path

import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.results.confusion import Confusion, confusion_name, read_confusion, write_confusion

NAMES = ["=1+1", 'a "quoted", name', "two\nlines"]
COUNTS = [[2**53 + 1, 2, 0], [0, 5, 0], [0, 0, 0]]  # a float64 has no 2**53 + 1


def test_what_is_written_is_read_again_to_the_last_pixel(tmp_path: Path) -> None:
    path = tmp_path / confusion_name("test")
    write_confusion(path, torch.tensor(COUNTS), NAMES)
    assert read_confusion(path) == Confusion(NAMES, COUNTS)


def test_any_csv_reader_sees_true_classes_down_and_predicted_ones_across(tmp_path: Path) -> None:
    write_confusion(tmp_path / "c.csv", torch.tensor([[3, 1], [0, 7]]), ["road", "sky"])
    assert (tmp_path / "c.csv").read_text() == "true \\ predicted,road,sky\nroad,3,1\nsky,0,7\n"
    with (tmp_path / "c.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["sky"] == "1"  # road taken for sky


def test_the_file_of_other_data_is_named_by_its_folder() -> None:
    assert confusion_name("val") == "confusion_val.csv"
    assert confusion_name("test", "_street") == "confusion_test_street.csv"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "not enough values"),
        ("t,a,b\na,1,2\n", "1 rows for 2 columns, or other names"),
        ("t,a,b\na,1,2\nc,1,2\n", "2 rows for 2 columns, or other names"),
        ("t,a,b\na,1\nb,1,2\n", "2 rows for 2 columns, or other names"),
        ("t,a,b\na,1,x\nb,1,2\n", "invalid literal for int"),
        ("t,a,b\na,1,-2\nb,1,2\n", "a count below 0"),
        ("t,a,b\na,1,2\n\nb,1,2\n", "not enough values"),
    ],
)
def test_a_damaged_table_is_named_with_the_command_that_writes_it_again(content: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "confusion_test.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=f"confusion_test.csv is not a table of counts by class \\(.*{why}") as caught:
        read_confusion(path)
    assert f"visiontasks evaluate {tmp_path} writes it again" in str(caught.value)
