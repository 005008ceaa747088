"""Precision and recall of detections: average precision as COCO has it, its curves, and the threshold that is best.

See `box_matching` for the source. Precision is read at 101 recalls, where it is the highest one at that recall or
above, from numbers that are rounded as in pycocotools: 7 of 10 objects do not reach the recall of 0.7, which is
0.7000000000000001 there.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visiontasks.tasks.metrics.f1_threshold import highest_f1
from visiontasks.tasks.metrics.matches import (
    AREAS,
    IGNORED,
    IOU_THRESHOLDS,
    MOST_DETECTIONS,
    RIGHT,
    WRONG,
    Floats,
    Ints,
    Matches,
)

RECALLS: Floats = np.linspace(0, 1, 101)
LIMITS = (1, 10, MOST_DETECTIONS)
"""Detections of an image and class that a recall is over."""
DEFAULT_THRESHOLD = 0.5
"""Where no detection is right, so that none is best."""
_ROUNDING = np.spacing(1.0)  # which pycocotools adds to each number of detections


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision and recall of each class; NaN where there is no object to be found.

    Args:
        precision: The highest at each of RECALLS or above, 0 where that is not reached, (A, T, K, R).
        score: The score down to which detections count there, of any size, 0 where it is not reached, (T, K, R).
        recall: Over the LIMITS, (A, L, T, K).
    """

    precision: Floats
    score: Floats
    recall: Floats

    @property
    def average_precision(self) -> Floats:
        """Of each class, of any size, at each IoU threshold, (T, K)."""
        return np.asarray(self.precision[0].mean(-1))


@dataclass(frozen=True, eq=False)
class Counts:
    """Detections and objects of each class at a threshold of the score, at an IoU of 0.5; int64 (K,) each.

    Args:
        right: Detections that find an object.
        wrong: Detections that find none.
        objects: Objects to be found.
    """

    right: Ints
    wrong: Ints
    objects: Ints

    @property
    def precision(self) -> Floats:
        """Share of the detections that are right, (K,); NaN without any."""
        return _ratio(self.right, self.right + self.wrong)

    @property
    def recall(self) -> Floats:
        """Share of the objects that are found, (K,); NaN without any."""
        return _ratio(self.right, self.objects)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of the two, (K,); NaN without detections and objects."""
        return _ratio(2 * self.right, self.right + self.wrong + self.objects)

    @property
    def total(self) -> "Counts":
        """Of all classes together, (1,) each."""
        right, wrong, objects = (np.array([each.sum()]) for each in (self.right, self.wrong, self.objects))
        return Counts(right, wrong, objects)


def precision_recall(matches: Matches) -> Curves:
    """Curves of all classes."""
    num_areas, num_thresholds, num_classes = len(AREAS), len(IOU_THRESHOLDS), matches.num_classes
    precision = np.full((num_areas, num_thresholds, num_classes, len(RECALLS)), np.nan)
    score = np.full(precision.shape[1:], np.nan)
    recall = np.full((num_areas, len(LIMITS), num_thresholds, num_classes), np.nan)
    ends = np.searchsorted(matches.label, np.arange(num_classes + 1))
    for area, counts in enumerate(matches.truths.counts):
        objects = np.bincount(matches.truths.label[counts], minlength=num_classes)
        for k in np.flatnonzero(objects):
            own = slice(ends[k], ends[k + 1])
            outcome = matches.outcome[area, :, own]
            for limit, most in enumerate(LIMITS):
                admitted = outcome if most == MOST_DETECTIONS else outcome[:, matches.rank[own] < most]
                recall[area, limit, :, k] = np.count_nonzero(admitted == RIGHT, axis=1) / objects[k]
            precision[area, :, k], places = _precisions(outcome, objects[k])
            if area == 0:
                known = np.append(matches.score[own], 0)
                score[:, k] = known[places]
    return Curves(precision, score, recall)


def mean_known(values: Floats) -> float:
    """Mean of the values that are not NaN; NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def counts_at(matches: Matches, threshold: float) -> Counts:
    """Count what is right and wrong among detections with a score of `threshold` or more."""
    outcome, label = matches.outcome[0, 0], matches.label
    above = matches.score >= threshold
    objects = matches.truths.label[matches.truths.counts[0]]
    right, wrong, true = (
        np.bincount(each, minlength=matches.num_classes)
        for each in (label[above & (outcome == RIGHT)], label[above & (outcome == WRONG)], objects)
    )
    return Counts(right, wrong, true)


def best_threshold(matches: Matches) -> float:
    """The threshold of the score with the highest F1 of all classes together, at an IoU of 0.5; see `highest_f1`.

    Returns:
        DEFAULT_THRESHOLD where nothing is right.
    """
    outcome = matches.outcome[0, 0]
    counted = (outcome != IGNORED) & np.isfinite(matches.score)
    found = highest_f1(matches.score[counted], outcome[counted] == RIGHT, int(matches.truths.counts[0].sum()))
    return DEFAULT_THRESHOLD if found is None else found


def image_counts(matches: Matches, threshold: float) -> tuple[Ints, Ints, Ints]:
    """The same of each image: detections that are right, that are wrong, and objects to be found, (I,) each."""
    above = matches.score >= threshold
    outcome, truths = matches.outcome[0, 0], matches.truths
    images = (
        matches.image[above & (outcome == RIGHT)],
        matches.image[above & (outcome == WRONG)],
        truths.image[truths.counts[0]],
    )
    right, wrong, objects = (np.bincount(each, minlength=matches.num_images) for each in images)
    return right, wrong, objects


def image_f1(matches: Matches, threshold: float) -> Floats:
    """F1 of each image, (I,): 2 right / (detections + objects); 1 where there are neither."""
    right, wrong, objects = image_counts(matches, threshold)
    whole = right + wrong + objects
    return np.where(whole > 0, 2 * right / np.maximum(whole, 1), 1)


def _precisions(outcome: npt.NDArray[np.int8], objects: int) -> tuple[Floats, Ints]:
    """Precision at RECALLS of a class (T, R), and up to which of its detections (T, R), n where it is not reached.

    Args:
        outcome: Of its detections in the order of their scores, (T, n).
        objects: Number of objects to be found, 1 or more.
    """
    right = np.cumsum(outcome == RIGHT, axis=1, dtype=np.int32)
    counted = np.cumsum(outcome != IGNORED, axis=1, dtype=np.int32)
    precision = right / (counted + _ROUNDING)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    places = np.stack([np.searchsorted(each, RECALLS) for each in right / objects])
    return np.take_along_axis(np.pad(highest, ((0, 0), (0, 1))), places, axis=1), places


def _ratio(part: Ints, whole: Ints) -> Floats:
    """part / whole, NaN for 0 / 0."""
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))
