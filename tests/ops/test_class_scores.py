from math import nan

import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.ops.class_scores import (
    average_precision,
    calibration_bins,
    class_scores,
    confusion_counts,
    coverage,
    expected_calibration_error,
    precision_recall,
)

LABEL, PREDICTED = torch.tensor([0, 0, 0, 1, 1, 3]), torch.tensor([0, 0, 1, 1, -1, 0])


def test_the_confusion_matrix_has_truth_in_rows_and_leaves_out_what_is_no_class() -> None:
    expected = [[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert confusion_counts(LABEL, PREDICTED, 4).tolist() == expected


def test_scores_of_classes_by_hand() -> None:
    found = class_scores(confusion_counts(LABEL, PREDICTED, 4), LABEL.bincount(minlength=4))
    # class 2 does not occur and is not predicted; class 3 is never predicted
    assert found["precision"] == pytest.approx([2 / 3, 1 / 2, nan, nan], nan_ok=True)
    assert found["recall"] == pytest.approx([2 / 3, 1 / 2, nan, 0], nan_ok=True)
    assert found["f1"] == pytest.approx([4 / 6, 2 / 4, nan, 0], nan_ok=True)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    confusion = torch.tensor([[6, 4], [2, 8]])  # precision 6/8, recall 6/10 of the first
    found = class_scores(confusion, confusion.sum(1))
    assert found["f1"][0] == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))


def test_calibration_by_hand() -> None:
    bins = calibration_bins([0.2, 0.3, 0.5, 0.51, 0.9, 1.0], [False, True, True, False, True, True], num_bins=2)
    assert [(each.low, each.high, each.n) for each in bins] == [(0, 0.5, 3), (0.5, 1, 3)]  # 0.5 is of the first
    assert [each.confidence for each in bins] == pytest.approx([1 / 3, 2.41 / 3])
    assert [each.accuracy for each in bins] == pytest.approx([2 / 3, 2 / 3])
    assert expected_calibration_error(bins) == pytest.approx(0.5 * (1 / 3) + 0.5 * (0.41 / 3))


def test_bins_without_samples_have_no_part_in_the_error() -> None:
    bins = calibration_bins([0.0, 1.0], [False, True])
    assert [each.n for each in bins] == [1, *[0] * 13, 1]
    assert bins[5].accuracy != bins[5].accuracy
    assert expected_calibration_error(bins) == 0


def test_calibration_of_nothing_is_unknown() -> None:
    assert expected_calibration_error(calibration_bins([], [])) == pytest.approx(nan, nan_ok=True)


@pytest.mark.parametrize("value", [-0.01, 1.01, nan])
def test_what_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="expected probabilities from 0 to 1"):
        calibration_bins([0.5, value], [True, True])


def test_precision_and_recall_by_threshold_by_hand() -> None:
    # from the highest score down: right, wrong, then two with equal scores, one right
    score, is_positive = [0.9, 0.5, 0.7, 0.5], [True, True, False, False]
    points = precision_recall(score, is_positive, 4)  # two of the four have no score
    assert points == [(1 / 4, 1), (1 / 4, 1 / 2), (2 / 4, 2 / 4)]
    assert average_precision(points) == pytest.approx(1 / 4 * 1 + 1 / 4 * 1 / 2)


def test_a_perfect_ranking_has_an_average_precision_of_1() -> None:
    assert average_precision(precision_recall([0.9, 0.8, 0.1], [True, True, False], 2)) == 1


def test_coverage_is_the_share_of_confident_predictions_and_their_accuracy() -> None:
    probability, is_right = [0.9, 0.5, 0.6, 0.4], [True, True, False, False]
    assert coverage(probability, is_right, 0.0) == (1, 1 / 2)
    assert coverage(probability, is_right, 0.5) == (3 / 4, 2 / 3)
    assert coverage(probability, is_right, 0.95) == (0, pytest.approx(nan, nan_ok=True))
