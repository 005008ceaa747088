"""Intervals of average precision by bootstrap over images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from visiontasks.tasks.metrics.average_precision import AveragePrecision
from visiontasks.tasks.metrics.bootstrap import (
    draw_images,
    interval_of,
    precision_difference,
    precision_intervals,
    resampled_precision,
    tally,
)
from visiontasks.tasks.metrics.box_matching import match
from visiontasks.tasks.metrics.match_rows import match_rows, rows_difference
from visiontasks.tasks.metrics.matches import Detected, Matches, Truths

HERE, FAR = [0.0, 0, 10, 10], [90.0, 90, 99, 99]


def measured(images: Any) -> Matches:
    metric = AveragePrecision(6)
    metric.update(torch.arange(len(images)), *zip(*images, strict=True))
    metric.compute()
    assert metric.matches is not None
    return metric.matches


def one_object_each(is_found: Any) -> Matches:
    """An object in each image, which is found perfectly or not, without any wrong detection."""
    images, found = np.arange(len(is_found)), np.flatnonzero(is_found)
    boxes, found_boxes = (np.tile(HERE, (len(rows), 1)) for rows in (images, found))
    labels, found_labels = np.zeros_like(images), np.zeros_like(found)
    areas, crowd = np.full(len(images), 100.0), np.zeros(len(images), np.bool_)
    return match(
        Detected(found, found_labels, np.full(len(found), 0.9), found_boxes),
        Truths(images, labels, boxes, crowd, areas),
        num_images=len(images),
        num_classes=1,
    )


def test_each_image_is_drawn_as_often_in_the_mean_and_the_same_each_time() -> None:
    weight = draw_images(50, 2000)
    assert weight.shape == (50, 2000)
    assert (weight.sum(0) == 50).all()
    assert weight.mean(1) == pytest.approx(1, abs=0.1)  # deviation 1 / sqrt(2000)
    np.testing.assert_array_equal(weight, draw_images(50, 2000))
    assert (weight != draw_images(50, 2000, seed=1)).any()


@pytest.mark.parametrize("seed", [0, 2, 6])
def test_with_each_image_once_it_is_the_metric_itself(seed: int, scene: Callable[[int], Any]) -> None:
    images = scene(seed)
    metric = AveragePrecision(6)
    metric.update(torch.arange(len(images)), *zip(*images, strict=True))
    values = metric.compute()
    assert metric.matches is not None
    by_iou = resampled_precision(tally(metric.matches), np.ones((len(images), 1)))[:, 0]
    expected = [float(values[name]) for name in ("map", "map50", "map75")]
    assert [by_iou.mean(), by_iou[0], by_iou[5]] == pytest.approx(expected, abs=1e-12)


def test_an_image_that_is_drawn_twice_counts_as_two(scene: Callable[[int], Any]) -> None:
    images = scene(2)
    scores = iter(np.random.default_rng(0).permutation(10_000) / 10_000)
    for detected, _ in images:  # of equal scores the copies would alternate
        detected["scores"] = torch.tensor([next(scores) for _ in detected["scores"]], dtype=torch.float64)
    weight = np.array([2, 0, 3, 1, 0, 1][: len(images)])
    repeated = measured([image for image, number in zip(images, weight, strict=True) for _ in range(number)])
    expected = resampled_precision(tally(repeated), np.ones((weight.sum(), 1)))
    found = resampled_precision(tally(measured(images)), weight[:, None].astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_interval_of_a_recall_is_that_of_a_share() -> None:
    is_found = np.arange(400) % 4 != 0  # 3 / 4; deviation sqrt(3 / 16 / 400) = 0.02165
    intervals = precision_intervals(one_object_each(is_found), 0.5)
    assert intervals["recall"] == pytest.approx((0.75 - 1.96 * 0.02165, 0.75 + 1.96 * 0.02165), abs=0.004)
    assert intervals["precision"] == (1, 1)
    assert intervals["map50"] == pytest.approx(intervals["recall"], abs=0.011)  # read at 101 recalls


@pytest.mark.slow
def test_the_interval_holds_the_true_value_in_19_of_20_samples() -> None:
    """The true recall, and map, is 0.6; of 200 samples 190 are expected, 95 % of the time 184 to 196."""
    source = np.random.default_rng(1)
    held = {"recall": 0, "map": 0}
    for _ in range(200):
        matches = one_object_each(source.random(60) < 0.6)
        weight = draw_images(60, 400)
        drawn = tally(matches)
        is_found = np.isin(np.arange(60), drawn.image)
        for name, values in (
            ("recall", (weight * is_found[:, None]).sum(0) / 60),
            ("map", resampled_precision(drawn, weight).mean(0)),
        ):
            low, high = interval_of(values) or (1.0, 0.0)
            held[name] += low <= 0.6 <= high
    assert all(180 <= number <= 198 for number in held.values()), held


def test_nothing_is_known_without_images_and_without_objects(scene: Callable[[int], Any]) -> None:
    assert precision_intervals(one_object_each(np.zeros(0, np.bool_)), 0.5) == {}
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    without = measured([({**empty, "scores": torch.zeros(0)}, empty)] * 3)
    assert precision_intervals(without, 0.5) == {}


def test_a_difference_on_the_same_images_is_surer_than_two_intervals() -> None:
    """The second finds 2 of 100 objects more: each recall is known to 0.1, their difference to 0.03."""
    first = np.arange(100) % 2 == 0
    second = first | (np.arange(100) < 4)
    difference, low, high = precision_difference(*(tally(one_object_each(found)) for found in (first, second)))
    assert difference == pytest.approx(0.02, abs=0.001)
    assert 0 <= low < difference < high < 0.06
    with pytest.raises(ValueError, match="expected the same images, got 100 and 99"):
        precision_difference(tally(one_object_each(first)), tally(one_object_each(first[1:])))


def test_rows_of_two_runs_in_any_order_give_the_difference_of_their_matches(scene: Callable[[int], Any]) -> None:
    first = scene(2)
    second = [({**found, "scores": found["scores"].flip(0)}, truth) for found, truth in first]
    expected = precision_difference(tally(measured(first)), tally(measured(second)))
    names = [f"class {k}" for k in range(6)]
    order = np.random.default_rng(0).permutation(len(first))  # the second run's images, by their place in the first
    rows = [match_rows(measured(images), names) for images in (first, [second[i] for i in order])]
    as_texts = [{key: str(value) for key, value in row.items()} for row in rows[1]]  # as from a file
    assert rows_difference(rows[0], as_texts, np.argsort(order).tolist()) == pytest.approx(expected, abs=1e-12)


def test_a_run_does_not_differ_from_itself(scene: Callable[[int], Any]) -> None:
    rows = match_rows(measured(scene(2)), [f"class {k}" for k in range(6)])
    assert rows_difference(rows, rows, range(len(scene(2)))) == (0, 0, 0)


def test_rows_have_what_became_of_detections_and_objects() -> None:
    detected = {
        "boxes": torch.tensor([[0.0, 0, 10, 6], FAR]),  # an IoU of 0.6: right at 0.50, 0.55 and 0.60
        "scores": torch.tensor([0.5, 0.25]),
        "labels": torch.tensor([1, 1]),
    }
    truth = {"boxes": torch.tensor([HERE]), "labels": torch.tensor([1])}
    assert match_rows(measured([(detected, truth)]), ["cat", "dog"]) == [
        {"image": 0, "label": "dog", "score": 0.5, "outcome": "1110000000"},
        {"image": 0, "label": "dog", "score": 0.25, "outcome": "0000000000"},
        {"image": 0, "label": "dog", "score": None, "outcome": ""},
    ]


def test_an_outcome_of_other_thresholds_is_refused() -> None:
    row = {"image": 0, "label": "dog", "score": 0.5, "outcome": "111"}
    with pytest.raises(ValueError, match="outcome must have 10 signs of 1, 0 and -, got '111'"):
        rows_difference([row], [row], [0])
