from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.outputs import ClassScores

NAMES = ["ant", "bee", "cow"]


def scores(*probability: float) -> ClassScores:
    return ClassScores(np.array(probability, np.float32))


def test_classes_come_most_probable_first_and_equal_ones_by_index() -> None:
    assert [each.name for each in scores(0.2, 0.2, 0.6).classes(NAMES)] == ["cow", "ant", "bee"]
    assert len(scores(0.2, 0.2, 0.6).classes(NAMES, top=1)) == 1


def test_the_mean_is_that_of_the_probabilities() -> None:
    mean = ClassScores.mean(iter([scores(0.5, 0.5, 0), scores(0.25, 0.25, 0.5)]))
    assert mean.probability.tolist() == [0.375, 0.375, 0.25]


def test_rows_have_the_declared_columns() -> None:
    (row,) = scores(0.125, 0.75, 0.125).rows(NAMES, top=2)
    assert row == {"predicted": "bee", "probability": 0.75, "class_2": "ant", "probability_2": 0.125}
    assert list(row) == ClassScores.columns(2)


def test_a_mirror_image_has_the_same_class_and_nothing_is_drawn() -> None:
    output, image = scores(1, 0, 0), Image.new("RGB", (4, 3))
    assert output.flipped() is output
    assert output.draw(image, NAMES) == {"": image}
    assert output.lines(NAMES, top=1) == ["ant 1.000"]


def test_json_is_read_again(tmp_path: Path) -> None:
    entry = scores(0.25, 0.75).to_json(tmp_path, "1")
    assert entry == {"probability": [0.25, 0.75]}
    assert ClassScores.from_json(entry, tmp_path).probability.tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("found", "flips", "ties", "faults"),
    [
        ((0.5, 0.4, 0.1), 0, 0, 0),
        ((0.505, 0.395, 0.1), 0, 0, 0),  # 0.005, within 0.01
        ((0.52, 0.38, 0.1), 0, 0, 1),
        ((0.4, 0.5, 0.1), 1, 0, 2),  # another class, and a probability
    ],
)
def test_a_difference_counts_flips_and_far_probabilities(
    found: tuple[float, ...], flips: int, ties: int, faults: int
) -> None:
    difference = scores(*found).difference(scores(0.5, 0.4, 0.1))
    assert (difference.classes, difference.flips, difference.ties, len(difference.faults)) == (1, flips, ties, faults)


def test_another_class_whose_reference_hardly_leads_is_a_tie() -> None:
    difference = scores(0.4499, 0.4501, 0.1).difference(scores(0.4504, 0.4496, 0.1))
    assert (difference.flips, difference.ties, difference.faults) == (0, 1, [])


def test_values_of_another_output_or_shape_are_refused() -> None:
    with pytest.raises(InputError, match="the file returns mask, expected probability"):
        ClassScores.from_graph({"mask": np.zeros(3)}, (4, 3))
    with pytest.raises(InputError, match=r"probability has the shape \(2,\), expected \(3,\)"):
        scores(0.5, 0.5).difference(scores(1, 0, 0))
    assert scores(np.nan, 1, 0).difference(scores(0, 1, 0)).figures == {"probability": float("inf")}
