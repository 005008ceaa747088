"""Metrics of several labels, with numbers worked out by hand and by scikit-learn."""

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from visiontasks.tasks.metrics.labels import DEFAULT_THRESHOLD, LabelMetrics

NAN = float("nan")


def logit(*probabilities: float) -> list[float]:
    return [log(p / (1 - p)) for p in probabilities]


def measured(logits: list[list[float]], truth: list[list[float]], **options: Any) -> LabelMetrics:
    metrics = LabelMetrics(len(truth[0]), **options)
    metrics.update(torch.arange(len(truth)), torch.tensor(logits), torch.tensor(truth))
    return metrics


def test_values_worked_out_by_hand() -> None:
    # label a: 0.9 yes, 0.8 no, 0.6 yes, 0.2 no: AP (1 + 2/3) / 2; label b: 0.7 no, 0.4 yes, 0.3 no, 0.1 no: AP 1/2
    logits = [logit(0.9, 0.7), logit(0.8, 0.4), logit(0.6, 0.3), logit(0.2, 0.1)]
    metrics = measured(logits, [[1, 0], [0, 1], [1, 0], [0, 0]], threshold=np.array([0.5, 0.5]))
    found = {name: value.tolist() for name, value in metrics.compute().items()}
    assert found["class_map"] == pytest.approx([5 / 6, 1 / 2])
    assert found["map"] == pytest.approx(2 / 3)
    # a predicted for 3 images, 2 of them right; b for 1, wrong: 2 of 4 are right, 2 of 3 are found
    assert found["class_precision"] == pytest.approx([2 / 3, 0])
    assert found["class_recall"] == [1, 0]
    assert (found["precision"], found["recall"]) == (1 / 2, pytest.approx(2 / 3))
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 0) / 2)
    assert found["exact_match"] == 1 / 2  # the third and the fourth image
    # a is before b in all images: right in the first and third, wrong in the second; the fourth has no label
    assert found["image_map"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["class_images"] == [2, 1]
    right = [0.9, 0.3, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9]
    assert found["loss"] == pytest.approx(-sum(map(log, right)) / 8, rel=1e-6)
    assert found["n"] == 4


def test_thresholds_lie_in_the_middle_of_the_gap_with_the_highest_f1() -> None:
    # a: with 0.9 and 0.6 F1 is 2 * 2 / (3 + 2) = 0.8 down to 0.6; b: alone down to 0.4: 2 / (2 + 1)
    logits = [logit(0.9, 0.7), logit(0.8, 0.4), logit(0.6, 0.3), logit(0.2, 0.1)]
    metrics = measured(logits, [[1, 0], [0, 1], [1, 0], [0, 0]])
    assert metrics.compute()["class_threshold"].tolist() == pytest.approx([0.4, 0.35])


def test_a_label_that_all_or_no_image_has_keeps_the_default_threshold_and_no_image_leaves_its_precision_open() -> None:
    metrics = measured([logit(0.9, 0.2), logit(0.8, 0.1)], [[1, 0], [1, 0]])
    found = metrics.compute()
    assert found["class_threshold"].tolist() == [DEFAULT_THRESHOLD] * 2
    assert found["class_map"].tolist() == pytest.approx([1, NAN], nan_ok=True)
    assert found["map"].item() == 1


def test_unknown_labels_count_nowhere() -> None:
    logits, truth = [logit(0.9, 0.7), logit(0.8, 0.4), logit(0.6, 0.3)], [[1, 0], [0, 1], [1, 0]]
    whole = measured([*logits, logit(0.99, 0.01)], [*truth, [NAN, 0]]).compute()
    assert whole["class_map"][0] == measured(logits, truth).compute()["class_map"][0]
    assert whole["class_images"].tolist() == [2, 1]
    assert whole["loss"] == pytest.approx(
        (3 * measured(logits, truth).compute()["loss"].item() - log(0.99)) / 4, rel=1e-5
    )


def test_no_number_is_never_present_and_ranks_last() -> None:
    metrics = measured([[NAN], logit(0.1), logit(0.2)], [[1], [1], [0]])
    found = metrics.compute()
    assert found["class_map"].item() == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics.labels is not None
    assert metrics.labels.present(np.zeros(1)).tolist() == [[False], [True], [True]]


def test_average_precision_is_that_of_scikit_learn_with_equal_probabilities() -> None:
    draw = np.random.default_rng(0)
    probability = draw.integers(1, 10, (60, 5)) / 10
    truth = (draw.random((60, 5)) < probability * 0.6).astype(float)
    truth[:, 0] = np.arange(60) < 30
    truth[:, 1] = np.arange(60) >= 30  # so that each image has labels of both kinds
    metrics = measured(np.log(probability / (1 - probability)).tolist(), truth.tolist())
    found = metrics.compute()
    used = metrics.labels.probability if metrics.labels else probability
    assert found["class_map"].numpy() == pytest.approx(average_precision_score(truth, used, average=None), abs=1e-12)
    assert found["image_map"].item() == pytest.approx(label_ranking_average_precision_score(truth, used), abs=1e-12)


def test_batches_and_their_order_change_no_bit() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(50, 3, generator=draw), (torch.rand(50, 3, generator=draw) < 0.4).float()
    whole, parts = LabelMetrics(3), LabelMetrics(3)
    whole.update(torch.arange(50), logits, truth)
    for rows in (torch.arange(31, 50), torch.arange(7), torch.arange(7, 31)):
        parts.update(rows, logits[rows], truth[rows])
    assert str({n: v.tolist() for n, v in whole.compute().items()}) == str(
        {n: v.tolist() for n, v in parts.compute().items()}
    )
    assert whole.intervals() == parts.intervals()


def test_intervals_are_corrected_for_the_bias_of_resamples() -> None:
    draw = np.random.default_rng(0)
    truth = (draw.random((128, 10)) < 0.25).astype(float)
    logits = draw.normal(size=(128, 10)) + 0.7 * truth
    metrics = measured(logits.tolist(), truth.tolist())
    value = metrics.compute()["map"].item()
    low, high = metrics.intervals()["map"]
    assert low < value < high
    # without the correction the middle of the interval lies 0.015 above the value, and with it below
    assert (low + high) / 2 < value - 0.005
