"""Several labels of an image: which ones it has, how they are written, averaged and compared."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.outputs import LabelScores

NAMES = ["ant", "bee", "cow"]


def scores(*probability: float, threshold: tuple[float, ...] = (0.5, 0.5, 0.5)) -> LabelScores:
    return LabelScores(np.array(probability, np.float32), np.array(threshold, np.float32))


def test_an_image_has_the_labels_that_reach_their_own_threshold() -> None:
    output = scores(0.25, 0.5, 0.75, threshold=(0.25, 0.625, 0.5))
    assert output.present.tolist() == [True, False, True]
    assert [each.name for each in output.shown(NAMES)] == ["cow", "ant"]
    assert output.with_threshold(0.5).present.tolist() == [False, True, True]


def test_rows_have_the_labels_and_then_the_most_probable_ones() -> None:
    (row,) = scores(0.25, 0.625, 0.75).rows(NAMES, top=2)
    assert row == {
        "labels": "cow|bee",
        "class_1": "cow",
        "probability_1": 0.75,
        "class_2": "bee",
        "probability_2": 0.625,
    }
    assert list(row) == LabelScores.columns(2)
    assert scores(0.25, 0.25, 0.125).rows(NAMES, top=1)[0]["labels"] == ""


def test_lines_name_the_labels_or_say_that_there_is_none() -> None:
    assert scores(0.25, 0.625, 0.75).lines(NAMES) == ["cow 0.750", "bee 0.625"]
    assert scores(0.25, 0.125, 0.0).lines(NAMES) == ["no label (most probable: ant 0.250)"]


def test_the_mean_is_that_of_probabilities_and_thresholds() -> None:
    first, second = scores(0.5, 0, 1, threshold=(0.25, 0.5, 0.5)), scores(0.25, 1, 0.5, threshold=(0.75, 0.5, 0.25))
    mean = LabelScores.mean(iter([first, second]))
    assert mean.probability.tolist() == [0.375, 0.5, 0.75]
    assert mean.threshold.tolist() == [0.5, 0.5, 0.375]


def test_json_and_a_graphs_values_are_read_again(tmp_path: Path) -> None:
    output = scores(0.25, 0.75, 0.5)
    again = LabelScores.from_json(output.to_json(tmp_path, "1"), tmp_path)
    assert (again.probability.tolist(), again.threshold.tolist()) == ([0.25, 0.75, 0.5], [0.5, 0.5, 0.5])
    values = {"probability": output.probability, "threshold": output.threshold}
    assert LabelScores.from_graph(values, (1, 1)).present.tolist() == [False, True, True]
    with pytest.raises(InputError, match="the file returns probability, expected probability and threshold"):
        LabelScores.from_graph({"probability": output.probability}, (1, 1))


def test_a_mirror_image_has_the_same_labels_and_nothing_is_drawn() -> None:
    output, image = scores(1, 0, 0), Image.new("RGB", (4, 3))
    assert output.flipped() is output
    assert output.draw(image, NAMES) == {"": image}


@pytest.mark.parametrize(
    ("found", "flips", "ties", "faults"),
    [
        ((0.6, 0.5005, 0.1), 0, 0, 0),
        ((0.605, 0.4995, 0.1), 0, 1, 0),  # the second is at its threshold
        ((0.62, 0.5005, 0.1), 0, 0, 1),
        ((0.4, 0.5005, 0.1), 1, 0, 2),  # another label, and a probability
    ],
)
def test_a_difference_counts_labels_that_one_has(found: tuple[float, ...], flips: int, ties: int, faults: int) -> None:
    difference = scores(*found).difference(scores(0.6, 0.5005, 0.1))
    assert (difference.classes, difference.flips, difference.ties, len(difference.faults)) == (3, flips, ties, faults)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"shapes \(2,\) and \(3,\)"):
        LabelScores(np.zeros(2, np.float32), np.zeros(3, np.float32))
    with pytest.raises(InputError, match=r"shape \(3,\), expected \(2,\)"):
        scores(1, 0, 0).difference(LabelScores(np.zeros(2, np.float32), np.zeros(2, np.float32)))
