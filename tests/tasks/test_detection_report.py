"""The sections of a detection's report: each number worked out by hand, and the same after a file."""

from typing import Any

import numpy as np
import pytest

from visiontasks.tasks.detection_report import detection_sections
from visiontasks.tasks.metrics.box_matching import Detected, Matches, Truths, match
from visiontasks.tasks.report_sections import ReportSection, StackedHistogram

HERE, SMALL, FAR = [0.0, 0, 20, 20], [50.0, 50, 60, 60], [90.0, 90, 99, 99]
NAMES = ["cat", "dog", "eel"]


def matched(detected: list[tuple[int, int, list[float], float]], true: list[tuple[int, int, list[float]]]) -> Matches:
    """(image, class, box, score) and (image, class, box) of two images."""
    image, label, box, score = (list(column) for column in zip(*detected, strict=True)) if detected else ([],) * 4
    true_image, true_label, true_box = (list(column) for column in zip(*true, strict=True)) if true else ([],) * 3
    boxes, true_boxes = (np.array(each, np.float64).reshape(-1, 4) for each in (box, true_box))
    return match(
        Detected(np.array(image, np.int64), np.array(label, np.int64), np.array(score, np.float64), boxes),
        Truths(
            np.array(true_image, np.int64),
            np.array(true_label, np.int64),
            true_boxes,
            np.zeros(len(true), np.bool_),
            (true_boxes[:, 2:] - true_boxes[:, :2]).prod(1),
        ),
        num_images=2,
        num_classes=3,
    )


def scene() -> Matches:
    """Two cats of 20 px, of which one is found, a cat of 10 px taken for a dog, and a dog of 10 px that is missed."""
    detected = [(0, 0, HERE, 0.9), (0, 1, SMALL, 0.8), (0, 0, FAR, 0.7), (0, 0, HERE, 0.6), (1, 0, HERE, 0.3)]
    return matched(detected, [(0, 0, HERE), (0, 0, SMALL), (1, 0, HERE), (1, 1, SMALL)])


def section(title: str) -> Any:
    (found,) = [each for each in detection_sections(scene(), 0.5, NAMES) if each.title == title]
    return found


def test_a_curve_has_the_precision_at_each_recall_over_all_scores() -> None:
    curves, _ = section("Precision and recall of each class").parts
    # of 3 cats the first detection finds one, the fourth another: precision 1 up to recall 1/3, 2/4 up to 2/3
    points = curves.curves["cat (0.500)"]  # (34 * 1 + 33 * 0.5) / 101 = 0.5
    assert [y for _, y in points] == [1.0] * 34 + [0.5] * 33 + [0.0] * 34
    assert [x for x, _ in points[:3]] == [0, 0.01, 0.02]
    assert list(curves.curves) == ["dog (0.000)", "cat (0.500)"]  # the worst first, and no eel


def test_the_table_of_classes_has_values_at_the_threshold_and_none_for_a_class_without_objects() -> None:
    _, table = section("Precision and recall of each class").parts
    dog, cat, eel = table.rows
    assert dog == ["dog", 1, 0, 0, 0, 0, 0]
    assert cat[:2] == ["cat", 3]
    assert cat[4:] == pytest.approx([1 / 3, 1 / 3, 1 / 3])  # one of three detections, one of three objects
    assert eel == ["eel", 0, None, None, None, None, None]


def test_the_matrix_counts_objects_and_detections_once() -> None:
    (matrix,) = section("Confusion matrix").parts
    assert matrix.counts == [[1, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [2, 0, 0, 0]]
    assert (matrix.rows[-1], matrix.columns[-1]) == ("nothing (invented)", "nothing (missed)")


def test_errors_have_their_number_and_share_by_kind() -> None:
    found = section("Errors by kind")
    (table,) = found.parts
    assert [row[:3] for row in table.rows] == [
        ["class", 1, 0.2],
        ["place", 0, 0.0],
        ["class and place", 0, 0.0],
        ["duplicate", 1, 0.2],
        ["background", 1, 0.2],
        ["missed", 2, 0.4],  # the second image's cat, below the threshold, and its dog
    ]
    assert found.text.startswith("1 of 4 objects are found by a detection with a score of 0.500 or more.")


def test_objects_are_counted_in_bins_in_which_the_area_doubles() -> None:
    (chart,) = section("Found and missed objects by size").parts
    # 10 x 10 px lie in 64 to 128 square pixels, 20 x 20 px in 256 to 512
    assert chart.edges == [8, 11.3, 16, 22.6]
    assert chart.counts == {"found": [0, 0, 1], "missed": [2, 0, 1]}


@pytest.mark.parametrize(("side", "edges"), [(16, [16, 22.6]), (0.5, [1, 1.4]), (32, [32, 45.3])])
def test_an_object_on_an_edge_counts_above_it(side: float, edges: list[float]) -> None:
    (*_, sizes) = detection_sections(matched([], [(0, 0, [0.0, 0, side, side])]), 0.5, NAMES)
    (chart,) = sizes.parts
    assert isinstance(chart, StackedHistogram)
    assert (chart.edges, chart.counts) == (edges, {"found": [0], "missed": [1]})


def test_a_chart_has_no_more_than_eight_curves() -> None:
    boxes = np.tile([0.0, 0, 9, 9], (10, 1))
    many = match(
        Detected(*(np.zeros(0, np.int64),) * 2, np.zeros(0), np.zeros((0, 4))),
        Truths(np.zeros(10, np.int64), np.arange(10), boxes, np.zeros(10, bool), np.ones(10)),
        num_images=1,
        num_classes=10,
    )
    *charts, table = detection_sections(many, 0.5, [f"class {k}" for k in range(10)])[0].parts
    assert [len(chart.curves) for chart in charts] == [5, 5]  # type: ignore[union-attr]  # curves
    assert len(table.rows) == 10  # type: ignore[union-attr]  # a table


def test_a_split_without_objects_has_no_sections() -> None:
    assert detection_sections(matched([(0, 0, HERE, 0.9)], []), 0.5, NAMES) == []


def test_sections_are_the_same_after_json() -> None:
    for each in detection_sections(scene(), 0.5, NAMES):
        again = ReportSection.from_json(each.to_json())
        assert again.to_json() == each.to_json()
        assert [type(part) for part in again.parts] == [type(part) for part in each.parts]
