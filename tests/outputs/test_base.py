"""The contracts of outputs and targets: a method that is missing is found before anything runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from visiontasks.outputs import ClassProbability
from visiontasks.outputs.base import class_columns, class_row, largest_of, lead

OUTPUT = """
from visiontasks.outputs import Output

class Value(Output):
    graph_values = "a value"

Value()
"""
TARGET = """
from visiontasks.data.targets import Target

class Value(Target):
    name = "value"

Value()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (OUTPUT, 'Cannot instantiate abstract class "Value" with abstract attributes "class_probability", "columns"'),
        (TARGET, 'Cannot instantiate abstract class "Value" with abstract attributes "augment"'),
    ],
    ids=["output", "target"],
)
def test_mypy_sees_a_missing_method(code: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "newcomer.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "newcomer.py")]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert found.returncode == 1, found.stderr
    assert expected in found.stdout


def test_ranked_classes_have_the_columns_that_are_declared() -> None:
    row = class_row([ClassProbability("cat", 0.75), ClassProbability("dog", 0.25)])
    assert list(row) == class_columns(2) == ["predicted", "probability", "class_2", "probability_2"]
    assert class_columns(0) == []


def test_the_lead_is_that_over_the_second_class() -> None:
    assert lead(np.float32([[0.5, 0.25, 0.25], [0, 0.5, 0.5]])).tolist() == [0.25, 0]


def test_a_difference_that_is_not_finite_is_infinite() -> None:
    assert largest_of(np.array([0.5, -0.75])) == 0.75
    assert largest_of(np.array([0.5, np.nan])) == float("inf")
    assert largest_of(np.zeros(0)) == 0
