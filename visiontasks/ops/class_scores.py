"""Measures of a classifier beyond accuracy: the confusion matrix, scores of each class, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, fsum, nan

import torch
from torch import Tensor

from visiontasks.errors import InputError

NUM_BINS = 15  # of Guo et al.


@dataclass(frozen=True)
class CalibrationBin:
    """The samples whose probability lies in (low, high].

    Args:
        low: Lower bound; the first bin takes 0 too.
        high: Upper bound.
        n: Number of samples.
        confidence: Their mean probability; NaN without samples.
        accuracy: The share of them that is right; NaN without samples.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def confusion_counts(label: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Count samples by true (row) and predicted class.

    Args:
        label: Class indices, int64 (n,).
        predicted: Class indices, int64 (n,); -1 for no class, which is not counted.
        num_classes: K.

    Returns:
        (K, K), int64.
    """
    named = predicted >= 0
    pairs = label[named] * num_classes + predicted[named]
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def class_scores(confusion: Tensor, support: Tensor) -> dict[str, list[float]]:
    """Precision, recall and F1 of each class.

    Args:
        confusion: Samples by true (row) and predicted class, (K, K).
        support: Samples of each class, (K,), including those without a predicted class.

    Returns:
        `precision`: TP / (TP + FP); NaN if the class was never predicted. `recall`: TP / (TP + FN); NaN if the class
        has no samples. `f1`: their harmonic mean, 2 TP / (2 TP + FP + FN); NaN if the
        class neither occurs nor was predicted. K numbers each.
    """
    right, called = confusion.diagonal().double(), confusion.sum(0).double()
    scores = {"precision": right / called, "recall": right / support, "f1": 2 * right / (called + support)}
    return {name: values.tolist() for name, values in scores.items()}


def calibration_bins(
    probability: Sequence[float], is_right: Sequence[bool], num_bins: int = NUM_BINS
) -> list[CalibrationBin]:
    """Sort predictions into bins of equal width by their probability.

    Chuan Guo, Geoff Pleiss, Yu Sun and Kilian Weinberger, "On Calibration of Modern Neural Networks", 2017,
    https://arxiv.org/abs/1706.04599, section 2.

    Args:
        probability: Of the predicted class, 0..1, n of them.
        is_right: Whether it is the true class, n of them.
        num_bins: Number of bins.

    Returns:
        All bins from 0 to 1, also those without samples.

    Raises:
        InputError: If a probability is outside of 0..1.
    """
    inside: list[list[tuple[float, bool]]] = [[] for _ in range(num_bins)]
    for value, right in zip(probability, is_right, strict=True):
        if not 0 <= value <= 1:
            raise InputError(f"expected probabilities from 0 to 1, got {value}")
        inside[max(0, ceil(value * num_bins) - 1)].append((value, right))
    return [
        CalibrationBin(
            low=i / num_bins,
            high=(i + 1) / num_bins,
            n=len(members),
            confidence=fsum(value for value, _ in members) / len(members) if members else nan,
            accuracy=sum(right for _, right in members) / len(members) if members else nan,
        )
        for i, members in enumerate(inside)
    ]


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Mean distance of accuracy and confidence over the samples by bins (Guo et al., equation 3), 0..1; NaN of none."""
    n = sum(each.n for each in bins)
    return fsum(each.n * abs(each.accuracy - each.confidence) for each in bins if each.n) / n if n else nan


def precision_recall(
    score: Sequence[float], is_positive: Sequence[bool], num_positives: int
) -> list[tuple[float, float]]:
    """Recall and precision at each threshold of a score, from the highest down.

    Args:
        score: n of them.
        is_positive: Whether a sample is of the class, n of them.
        num_positives: All samples of the class, also those without a score; at least 1.

    Returns:
        (recall, precision), one pair for each distinct score.
    """
    ranked = sorted(zip(score, is_positive, strict=True), key=lambda pair: -pair[0])
    points, right = [], 0
    for called, (value, positive) in enumerate(ranked, start=1):
        right += positive
        if called == len(ranked) or ranked[called][0] != value:
            points.append((right / num_positives, right / called))
    return points


def average_precision(points: Sequence[tuple[float, float]]) -> float:
    """Area below the steps of `precision_recall`, without interpolation, 0..1."""
    recalls = [0.0, *(recall for recall, _ in points)]
    return fsum((recall - recalls[i]) * precision for i, (recall, precision) in enumerate(points))


def coverage(probability: Sequence[float], is_right: Sequence[bool], threshold: float) -> tuple[float, float]:
    """What a classifier does that answers only where its probability reaches a threshold.

    Args:
        probability: Of the predicted class, n of them, at least one.
        is_right: Whether it is the true class, n of them.
        threshold: Lowest probability of an answer.

    Returns:
        The share of samples with an answer, and the share of right ones among these; NaN without answers.
    """
    answered = [right for value, right in zip(probability, is_right, strict=True) if value >= threshold]
    return len(answered) / len(probability), sum(answered) / len(answered) if answered else nan
