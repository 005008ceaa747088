from dataclasses import replace
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


def test_a_set_has_the_classes_of_the_least_probability_and_always_the_most_probable_one() -> None:
    output = scores(0.25, 0.625, 0.125)
    assert [each.name for each in output.with_set(0.25).class_set(NAMES)] == ["bee", "ant"]
    assert [each.name for each in output.with_set(0.9).class_set(NAMES)] == ["bee"]
    assert output.class_set(NAMES) == ()


def test_a_set_is_a_line_and_a_column() -> None:
    output = scores(0.25, 0.625, 0.125).with_set(0.1)
    assert output.lines(NAMES, top=5) == ["bee 0.625 or ant 0.250 or cow 0.125"]
    assert output.lines(NAMES, top=1) == ["bee 0.625 or 2 more"]
    (row,) = output.rows(NAMES, top=1)
    assert row == {"predicted": "bee", "probability": 0.625, "set": ["bee", "ant", "cow"]}
    assert "set" not in scores(0.25, 0.75).rows(NAMES)[0]


def unusual(p_known: float, false_alarms: float | None) -> ClassScores:
    output = replace(scores(0.25, 0.625, 0.125), p_known=p_known)
    return output if false_alarms is None else output.with_unknown(false_alarms)


def test_an_image_is_unknown_up_to_the_promised_share() -> None:
    """1 of 20 in the float32 of a graph is above 0.05 in the float64 of an option, and counts as equal."""
    assert [unusual(p, 0.05).is_unknown for p in (0.04, float(np.float32(0.05)), 0.06)] == [True, True, False]
    assert not unusual(0.0, None).is_unknown
    assert not scores(0.5, 0.5).with_unknown(0.05).is_unknown


def test_unknown_stands_before_the_classes_without_a_probability() -> None:
    output = unusual(0.01, 0.05)
    assert [each.name for each in output.classes(NAMES, top=2)] == ["unknown", "bee"]
    assert output.lines(NAMES, top=2) == ["unknown", "bee 0.625"]
    assert output.rows(NAMES, top=2) == [
        {"predicted": "unknown", "probability": None, "class_2": "bee", "probability_2": 0.625, "p_known": 0.01}
    ]
    assert output.with_set(0.2).lines(NAMES) == ["unknown, else bee 0.625 or ant 0.250"]
    assert unusual(0.5, 0.05).rows(NAMES, top=1) == [{"predicted": "bee", "probability": 0.625, "p_known": 0.5}]


def test_how_unusual_an_image_is_goes_through_graphs_json_and_differences(tmp_path: Path) -> None:
    output = unusual(0.25, None)
    read = ClassScores.from_json(output.to_json(tmp_path, "1"), tmp_path)
    graph = ClassScores.from_graph({"probability": output.probability, "p_known": np.float32(0.25)}, (4, 3))
    assert read.p_known == graph.p_known == 0.25
    assert ClassScores.mean([output]).p_known == 0.25
    assert output.difference(unusual(0.3, None)).faults == []
    assert output.difference(unusual(0.5, None)).faults == ["p_known differs by 0.25"]
    assert output.difference(scores(0.25, 0.625, 0.125)).faults == ["only one of the two has p_known"]
