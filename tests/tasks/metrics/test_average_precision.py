"""Average precision by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from visiontasks.tasks.metrics.average_precision import AveragePrecision, DetectedBoxes, TrueBoxes

FAR = [900.0, 900, 950, 950]


def found(boxes: list[list[float]], scores: list[float], labels: list[int] | None = None) -> DetectedBoxes:
    return {
        "boxes": torch.tensor(boxes).view(-1, 4),
        "scores": torch.tensor(scores),
        "labels": torch.tensor(labels or [0] * len(scores), dtype=torch.int64),
    }


def true(boxes: list[list[float]], labels: list[int] | None = None, crowd: list[bool] | None = None) -> TrueBoxes:
    return {
        "boxes": torch.tensor(boxes).view(-1, 4),
        "labels": torch.tensor(labels or [0] * len(boxes), dtype=torch.int64),
        "crowd": torch.tensor(crowd or [False] * len(boxes), dtype=torch.bool),
    }


def square(i: int, side: float = 10) -> list[float]:
    return [20.0 * i, 0, 20 * i + side, side]


def measured(*images: tuple[DetectedBoxes, TrueBoxes], num_classes: int = 1, **options: Any) -> dict[str, Tensor]:
    metric = AveragePrecision(num_classes, **options)
    detected, truth = zip(*images, strict=True)
    metric.update(torch.arange(len(images)), detected, truth)
    return metric.compute()


def test_seven_of_ten_objects_are_70_of_101() -> None:
    """7 / 10 is below numpy's 0.7000000000000001, the 71st recall, as in pycocotools."""
    boxes = [square(i) for i in range(10)]
    values = measured((found(boxes[:7], [0.9] * 7), true(boxes)))
    assert float(values["map"]) == pytest.approx(70 / 101, abs=1e-12)
    assert float(values["mar100"]) == pytest.approx(0.7)
    assert float(values["mar1"]) == pytest.approx(0.1)


def test_six_and_eight_of_ten_lose_no_point() -> None:
    boxes = [square(i) for i in range(10)]
    for count in (6, 8):
        values = measured((found(boxes[:count], [0.9] * count), true(boxes)))
        assert float(values["map"]) == pytest.approx((10 * count + 1) / 101, abs=1e-12)


def test_an_iou_of_exactly_a_threshold_counts() -> None:
    values = measured((found([[0, 0, 10, 6]], [0.9]), true([[0, 0, 10, 10]])))  # 0.6: 0.50, 0.55, 0.60
    assert float(values["map"]) == pytest.approx(0.3)
    assert (float(values["map50"]), float(values["map75"])) == pytest.approx((1, 0))


def test_a_wrong_detection_with_a_higher_score_halves_the_precision() -> None:
    values = measured((found([FAR, square(0)], [0.9, 0.8]), true([square(0)])))
    assert float(values["map50"]) == pytest.approx(0.5)


def test_equal_scores_are_ordered_by_the_images_and_not_by_the_batches() -> None:
    images = {3: (found([FAR], [0.5]), true([square(0)])), 1: (found([square(0)], [0.5]), true([square(0)]))}
    both = []
    for order in ([3, 1], [1, 3]):
        metric = AveragePrecision(1)
        for index in order:
            metric.update(torch.tensor([index]), [images[index][0]], [images[index][1]])
        both.append(float(metric.compute()["map50"]))
    assert both[0] == both[1] == pytest.approx(51 / 101)


def test_a_crowd_is_neither_found_nor_missed() -> None:
    truth = true([square(0), [100, 100, 300, 300]], crowd=[False, True])
    inside = [[110.0, 110, 150, 150], [200, 200, 250, 250]]
    values = measured((found([*inside, square(0)], [0.9, 0.8, 0.7]), truth))
    assert float(values["map"]) == pytest.approx(1)
    assert (float(values["precision"]), float(values["recall"])) == (1, 1)


def test_images_without_objects_count_their_false_detections() -> None:
    values = measured((found([square(0)], [0.5]), true([square(0)])), (found([square(1)], [0.9]), true([])))
    assert float(values["map50"]) == pytest.approx(0.5)
    assert float(values["n"]) == 2


def test_a_class_without_objects_has_no_part_in_the_mean() -> None:
    values = measured((found([square(0), square(1)], [0.9, 0.9], [0, 1]), true([square(0)], [0])), num_classes=2)
    assert float(values["map"]) == pytest.approx(1)
    assert values["class_map"].isnan().tolist() == [False, True]
    assert values["class_objects"].tolist() == [1, 0]


def test_without_any_object_nothing_is_defined() -> None:
    assert np.isnan(float(measured((found([], []), true([])))["map"]))


def test_more_than_100_detections_of_a_class_are_cut_and_those_of_another_are_not() -> None:
    far = [[2000.0 + 20 * i, 0, 2010 + 20 * i, 10] for i in range(100)]
    detected = found([*far, square(0), square(1)], [0.9] * 100 + [0.5, 0.5], [0] * 101 + [1])
    values = measured((detected, true([square(0), square(1)], [0, 1])), num_classes=2)
    assert values["class_map"].tolist() == pytest.approx([0, 1])


def test_areas_divide_objects_and_other_detections_are_ignored() -> None:
    small, large = [0.0, 0, 20, 20], [100.0, 100, 300, 300]
    values = measured((found([large, small], [0.9, 0.5]), true([small, large])))
    assert [float(values[f"map_{size}"]) for size in ("small", "large")] == pytest.approx([1, 1])
    assert np.isnan(float(values["map_medium"]))


def test_the_threshold_is_the_one_with_the_highest_f1_and_can_be_given() -> None:
    detected = found([square(0), square(1), FAR], [0.9, 0.6, 0.3])
    values = measured((detected, true([square(0), square(1), square(2)])))
    assert float(values["threshold"]) == pytest.approx(0.45)  # between 0.6 and 0.3
    assert [float(values[name]) for name in ("precision", "recall", "f1")] == pytest.approx([1, 2 / 3, 0.8])
    given = measured((detected, true([square(0), square(1), square(2)])), threshold=0.7)
    assert [float(given[name]) for name in ("precision", "recall", "f1")] == pytest.approx([1, 1 / 3, 0.5])


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="as many detections and truths as images, got 0 and 1"):
        AveragePrecision(1).update(torch.tensor([0]), [], [true([])])
    with pytest.raises(ValueError, match="expected boxes"):
        AveragePrecision(1).update(torch.tensor([0]), [found([FAR], [0.1, 0.2])], [true([])])


def test_intervals_hold_the_value() -> None:
    rng = np.random.default_rng(0)
    metric = AveragePrecision(1)
    for i in range(40):
        hit = [square(0)] if rng.random() < 0.6 else []
        metric.update(torch.tensor([i]), [found(hit, [0.8] * len(hit))], [true([square(0)])])
    value = float(metric.compute()["map"])
    low, high = metric.intervals()["map"]
    assert low < value < high
    assert 0.1 < high - low < 0.5


def test_a_box_without_area_or_with_nan_finds_nothing() -> None:
    nan = float("nan")
    values = measured((found([[5, 5, 5, 5], [nan, 0, 10, 10], square(0)], [0.9, 0.8, 0.7]), true([square(0)])))
    assert float(values["map50"]) == pytest.approx(1 / 3)


def test_a_score_of_nan_comes_last_and_no_threshold_is_between_it_and_another() -> None:
    values = measured((found([FAR, square(0)], [float("nan"), 0.7]), true([square(0)])))
    assert (float(values["map50"]), float(values["f1"])) == pytest.approx((1, 1))
    assert float(values["threshold"]) == pytest.approx(0.7)


def test_the_threshold_does_not_admit_the_next_score_where_no_number_is_between_them() -> None:
    high = 0.5
    low = float(np.nextafter(high, 0))
    detected: DetectedBoxes = found([square(0), FAR], [high, low])
    detected["scores"] = torch.tensor([high, low], dtype=torch.float64)
    values = measured((detected, true([square(0)])))
    assert [float(values[name]) for name in ("threshold", "precision", "recall")] == [high, 1, 1]


def test_equal_scores_are_admitted_together() -> None:
    detected = found([square(0), FAR, FAR], [0.6, 0.6, 0.6])
    values = measured((detected, true([square(0)])))
    assert [float(values[name]) for name in ("precision", "recall", "f1")] == pytest.approx([1 / 3, 1, 0.5])


def test_without_a_right_detection_the_threshold_is_a_half() -> None:
    assert float(measured((found([FAR], [0.9]), true([square(0)])))["threshold"]) == 0.5


def test_a_class_index_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="expected class indices of 0 to 1, got 0 to 2 of detections"):
        measured((found([FAR, FAR], [0.1, 0.2], [0, 2]), true([])), num_classes=2)
    with pytest.raises(ValueError, match="got 2 to 2 of objects"):
        measured((found([], []), true([square(0)], [2])), num_classes=2)


def test_annotated_areas_and_not_those_of_the_boxes_decide_the_size() -> None:
    truth = true([square(0, 40)]) | {"area": torch.tensor([1000.0])}  # a mask of 1,000 px in a box of 1,600
    values = measured((found([square(0, 40)], [0.9]), truth))
    assert float(values["map_small"]) == pytest.approx(1)
    assert np.isnan(float(values["map_medium"]))


def test_reset_forgets_the_images() -> None:
    metric = AveragePrecision(1)
    metric.update(torch.tensor([0]), [found([square(0)], [0.9])], [true([square(0)])])
    assert float(metric.compute()["map"]) == pytest.approx(1)
    metric.reset()
    with pytest.raises(ValueError, match=r"call compute\(\) first"):
        metric.intervals()
    metric.update(torch.tensor([0]), [found([FAR], [0.9])], [true([square(0)])])
    assert float(metric.compute()["map"]) == 0
