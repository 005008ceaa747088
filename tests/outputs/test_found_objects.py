from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.outputs import ClassScores, Detections, SemanticMask
from visiontasks.outputs.drawing import class_colours
from visiontasks.outputs.found_objects import FoundObjects

NAMES = ["cat", "dog"]


def objects(*rows: tuple[list[float], float, int], threshold: float = 0.5, num_classes: int = 2) -> FoundObjects:
    return FoundObjects(
        (60, 100),
        np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([k for _, _, k in rows], np.int64),
        num_classes,
        threshold,
    )


BOTH = objects(([10, 20, 30, 50], 0.9, 1), ([40.126, 0, 100, 60], 0.5, 0), ([1, 1, 5, 5], 0.2, 0))


def test_rows_have_what_reaches_the_threshold() -> None:
    assert BOTH.rows(NAMES) == [
        {"class": "dog", "score": 0.9, "x1": 10, "y1": 20, "x2": 30, "y2": 50},
        {"class": "cat", "score": 0.5, "x1": 40.13, "y1": 0, "x2": 100, "y2": 60},
    ]
    assert [list(row) for row in BOTH.rows(NAMES)] == [FoundObjects.columns(2)] * 2


def test_an_image_without_objects_has_an_empty_row_and_a_line() -> None:
    nothing = objects(([1, 1, 5, 5], 0.2, 0))
    assert nothing.rows(NAMES) == [{}]
    assert nothing.lines(NAMES) == ["no object"]


def test_coco_has_corner_and_size_in_pixels_and_counts_classes_from_1() -> None:
    assert BOTH.coco_results() == [
        {"category_id": 2, "bbox": [10, 20, 20, 30], "score": 0.9},
        {"category_id": 1, "bbox": [40.13, 0, 59.87, 60], "score": 0.5},
    ]
    assert objects().coco_results() == []


def test_yolo_has_centre_and_size_as_shares_and_counts_classes_from_0() -> None:
    """x / 100 and y / 60: the centre of 10..30 is 20, of 20..50 it is 35."""
    assert BOTH.yolo_lines() == [
        "1 0.200000 0.583333 0.200000 0.500000 0.900000",
        "0 0.700630 0.500000 0.598740 1.000000 0.500000",
    ]
    assert objects().yolo_lines() == []


def test_formats_that_an_output_names_are_those_that_it_writes() -> None:
    assert FoundObjects.label_formats == ("coco", "yolo")
    for output in (ClassScores, Detections, SemanticMask):
        assert output.label_formats == ()
        for write in (output.coco_results, output.yolo_lines):
            with pytest.raises(NotImplementedError):
                write(output.__new__(output))


def test_lines_and_boxes_by_name() -> None:
    assert BOTH.lines(NAMES) == ["dog  0.90  box 10 20 30 50", "cat  0.50  box 40 0 100 60"]
    box = BOTH.named(NAMES)[0]
    assert (box.x1, box.y2, box.classes[0].name) == (10, 50, "dog")
    assert box.classes[0].probability == pytest.approx(0.9)


def test_the_best_score_of_each_class_counts_for_the_image() -> None:
    assert BOTH.class_probability() == pytest.approx(np.array([0.5, 0.9]))
    assert objects(num_classes=0).class_probability() is None
    assert objects().class_probability() == pytest.approx(np.zeros(2))


def test_a_flip_exchanges_left_and_right() -> None:
    assert BOTH.flipped().boxes[0].tolist() == [70, 20, 90, 50]
    assert BOTH.flipped().flipped().boxes == pytest.approx(BOTH.boxes)


def test_the_mean_fuses_boxes_and_thresholds_and_one_alone_stays() -> None:
    first, second = objects(([0, 0, 10, 10], 0.8, 0)), objects(([0, 0, 10, 10], 0.4, 0), threshold=0.3)
    mean = FoundObjects.mean([first, second])
    assert mean.scores.tolist() == pytest.approx([0.6])
    assert mean.threshold == pytest.approx(0.4)
    assert FoundObjects.mean([first]) is first


def test_a_graph_pads_with_scores_of_zero() -> None:
    values = {
        "boxes": np.array([[1, 2, 3, 4], [0, 0, 9, 9]], np.float32),
        "scores": np.array([0.7, 0], np.float32),
        "labels": np.array([1, 0]),
    }
    found = FoundObjects.from_graph(values, (60, 100))
    assert (found.boxes.tolist(), found.labels.tolist()) == ([[1, 2, 3, 4]], [1])
    with pytest.raises(InputError, match="the file returns mask, expected boxes, scores and labels"):
        FoundObjects.from_graph({"mask": np.zeros(1)}, (60, 100))


def test_json_and_back_is_what_is_shown(tmp_path: Path) -> None:
    found = FoundObjects.from_json({**BOTH.to_json(tmp_path, "x"), "height": 60, "width": 100}, tmp_path)
    assert found.difference(BOTH).faults == []
    assert (found.size, len(found.scores), found.threshold) == ((60, 100), 2, 0.5)
    nothing = objects()
    empty = FoundObjects.from_json({**nothing.to_json(tmp_path, "x"), "height": 60, "width": 100}, tmp_path)
    assert empty.boxes.shape == (0, 4)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"have the shapes \(1, 4\), \(2,\), \(1,\), expected"):
        FoundObjects((9, 9), np.zeros((1, 4), np.float32), np.zeros(2, np.float32), np.zeros(1, np.int64))


def test_equal_detections_do_not_differ_and_their_order_does_not_matter() -> None:
    other = objects(([40.126, 0, 100, 60], 0.5, 0), ([10, 20, 30, 50], 0.9, 1))
    found = other.difference(BOTH)
    assert (found.classes, found.flips, found.ties, found.faults) == (2, 0, 0, [])
    assert found.figures == {"score": 0, "box_px": 0, "unpaired_objects": 0}


def test_a_shift_is_measured_in_pixels_of_the_network() -> None:
    moved = objects(([11, 20, 30, 50], 0.9, 1), ([40.126, 0, 100, 60], 0.5, 0))
    assert moved.difference(BOTH).faults == ["a box differs by 1 px of the network's image"]
    assert moved.difference(BOTH, unit=2.0).faults == []


def test_another_class_or_a_missing_object_is_a_flip() -> None:
    found = objects(([10, 20, 30, 50], 0.9, 0), ([40.126, 0, 100, 60], 0.5, 0)).difference(BOTH)
    assert (found.flips, found.ties, found.figures["unpaired_objects"]) == (2, 0, 2)
    assert found.faults == ["2 of 3 objects are found by one of the two only"]


def test_an_object_whose_score_is_at_the_threshold_is_a_tie() -> None:
    found = objects(([10, 20, 30, 50], 0.9, 1)).difference(BOTH)
    assert (found.flips, found.ties, found.faults) == (0, 1, [])


def test_an_object_whose_score_is_the_lowest_of_as_many_as_are_kept_is_a_tie() -> None:
    first, second, third = ([10, 20, 30, 50], 0.9, 1), ([40, 0, 100, 60], 0.7, 0), ([0, 0, 9, 9], 0.695, 0)
    reference = replace(objects(first, second), most=2)
    found = objects(first, third).difference(reference)
    assert (found.classes, found.flips, found.ties, found.faults) == (3, 0, 2, [])
    for most in (3, None):  # then there was room for both
        found = objects(first, third).difference(replace(reference, most=most))
        assert (found.flips, found.ties) == (2, 0)
    lower = ([0, 0, 9, 9], 0.68, 0)
    assert objects(first, lower).difference(reference).flips == 2


def test_a_score_that_is_off_is_a_fault() -> None:
    other = objects(([10, 20, 30, 50], 0.88, 1), ([40.126, 0, 100, 60], 0.5, 0))
    assert other.difference(BOTH).faults == ["a score differs by 0.02"]


def test_each_class_is_drawn_in_its_colour_with_a_label() -> None:
    black = Image.new("RGB", (100, 60))
    (drawn,) = BOTH.draw(black, NAMES).values()
    colours = [tuple(colour) for colour in class_colours(NAMES)]
    assert drawn.getpixel((20, 49)) == colours[1]
    assert drawn.getpixel((70, 59)) == colours[0]
    assert np.asarray(black).max() == 0  # a copy
    inside_label = np.asarray(drawn)[9:20, 10:60].reshape(-1, 3)
    assert (inside_label == colours[1]).all(1).sum() > 50


def test_beside_the_truth_there_is_one_picture_with_a_legend() -> None:
    truth = objects(([10, 20, 30, 50], 1.0, 1), threshold=0.0)
    assert BOTH.num_panels(truth) == 1
    assert list(BOTH.draw(Image.new("RGB", (100, 60)), NAMES, truth)) == [""]
    assert [entry.name for entry in BOTH.legend(NAMES, truth)] == ["true object", "detection with its score"]
    assert BOTH.legend(NAMES) == []
