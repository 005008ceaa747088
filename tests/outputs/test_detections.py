from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.outputs import Detections
from visiontasks.outputs.drawing import PREDICTED_BOX_COLOUR, TRUE_BOX_COLOUR

NAMES = ["ant", "bee"]
SIZE = (100, 200)  # height, width


def one(*box: float, probability: tuple[float, ...] | None = None) -> Detections:
    classes = None if probability is None else np.array([probability], np.float32)
    return Detections(SIZE, np.array([box], np.float32), classes)


def test_rows_are_cut_to_the_image_and_name_the_classes() -> None:
    (row,) = one(-5, 10, 250, 40.126, probability=(0.25, 0.75)).rows(NAMES, top=1)
    assert row == {"predicted": "bee", "probability": 0.75, "x1": 0, "y1": 10, "x2": 200, "y2": 40.13}
    assert list(row) == Detections.columns(1)
    assert Detections.columns(0) == ["x1", "y1", "x2", "y2"]


def test_a_mirrored_box_lies_on_the_other_side() -> None:
    assert one(10, 20, 50, 60).flipped().boxes.tolist() == [[150, 20, 190, 60]]


def test_the_mean_is_that_of_coordinates_before_they_are_cut() -> None:
    mean = Detections.mean([one(-10, 0, 20, 20, probability=(1, 0)), one(30, 0, 40, 60, probability=(0.5, 0.5))])
    assert mean.boxes.tolist() == [[10, 0, 30, 40]]
    assert mean.probability is not None
    assert mean.probability.tolist() == [[0.75, 0.25]]


def test_lines_name_classes_and_corners() -> None:
    output = one(1, 2, 3.6, 4, probability=(0.25, 0.75))
    assert output.lines(NAMES) == ["bee 0.750  ant 0.250  box 1 2 4 4"]
    assert output.caption(NAMES) == ["bee 0.750  box 1 2 4 4"]
    assert one(1, 2, 3, 4).lines(NAMES) == ["box 1 2 3 4"]


def test_truth_and_prediction_are_drawn_in_their_colours() -> None:
    image = Image.new("RGB", (200, 100))
    drawn = np.asarray(one(20, 20, 80, 80).draw(image, NAMES, one(100, 20, 180, 80))[""])
    assert tuple(drawn[50, 20]) == PREDICTED_BOX_COLOUR
    assert tuple(drawn[50, 100]) == TRUE_BOX_COLOUR
    assert not np.asarray(image).any()  # it was copied
    assert [entry.name for entry in one(0, 0, 1, 1).legend(NAMES, one(0, 0, 1, 1))] == ["true box", "predicted box"]
    assert one(0, 0, 1, 1).legend(NAMES) == []


@pytest.mark.parametrize("is_single", [True, False])
def test_json_and_graphs_have_no_dimension_of_objects_for_a_single_one(is_single: bool, tmp_path: Path) -> None:
    output = Detections(SIZE, np.float32([[1, 2, 3, 4]]), np.float32([[0.25, 0.75]]), is_single=is_single)
    entry = output.to_json(tmp_path, "1")
    assert entry == (
        {"box": [1, 2, 3, 4], "probability": [0.25, 0.75]}
        if is_single
        else {"box": [[1, 2, 3, 4]], "probability": [[0.25, 0.75]]}
    )
    again = Detections.from_json({**entry, "height": 100, "width": 200}, tmp_path)
    assert again.is_single == is_single
    assert again.difference(output).faults == []
    assert again.boxes.tolist() == [[1, 2, 3, 4]]


def test_class_probability_is_that_of_the_surest_object() -> None:
    output = Detections(SIZE, np.zeros((2, 4), np.float32), np.float32([[0.25, 0.75], [0.5, 0.5]]), is_single=False)
    assert output.class_probability() is not None
    assert np.asarray(output.class_probability()).tolist() == [0.5, 0.75]
    assert one(0, 0, 1, 1).class_probability() is None


@pytest.mark.parametrize(
    ("box", "unit", "px", "faults"),
    [
        ((0, 0, 100, 50), 1.0, 0.0, 0),
        ((0, 0, 101, 50), 1.0, 1.0, 0),  # IoU 100 / 101
        ((0, 0, 104, 50), 1.0, 4.0, 1),
        ((0, 0, 104, 50), 4.0, 1.0, 0),  # one pixel of the network's image
    ],
)
def test_a_box_may_differ_by_a_pixel_of_the_networks_image(
    box: tuple[float, ...], unit: float, px: float, faults: int
) -> None:
    difference = one(*box).difference(one(0, 0, 100, 50), unit=unit)
    assert difference.figures["box_px"] == px
    assert difference.figures["box_iou"] == pytest.approx(100 / box[2])
    assert len(difference.faults) == faults


def test_the_box_of_a_class_that_ties_is_not_compared() -> None:
    tied = one(0, 0, 9, 9, probability=(0.4999, 0.5001)).difference(one(50, 50, 90, 90, probability=(0.5001, 0.4999)))
    assert (tied.ties, tied.faults) == (1, [])


def test_another_number_of_boxes_is_refused() -> None:
    with pytest.raises(InputError, match=r"box has the shape \(1, 4\), expected \(2, 4\)"):
        one(0, 0, 1, 1).difference(Detections(SIZE, np.zeros((2, 4), np.float32)))
    with pytest.raises(InputError, match="the file returns mask, expected box and probability"):
        Detections.from_graph({"mask": np.zeros(1)}, SIZE)
