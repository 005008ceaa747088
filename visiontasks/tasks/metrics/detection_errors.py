"""Why detections are wrong, and for which class each object is taken, at a threshold of the score.

Daniel Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", 2020,
https://arxiv.org/abs/2008.08115. Deviations: matches are COCO's, with an IoU of 0.5; errors are counted among the
detections that the threshold admits, and what each costs in average precision is not estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from visiontasks.tasks.metrics.matches import IOU_THRESHOLDS, NONE, RIGHT, WRONG, Bools, Ints, Matches


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors by kind.

    Args:
        kind: Index in KINDS of each detection, in the order of `Matches`; NONE for one that is right, ignored, or below
            the threshold.
        missed: Rows of the objects that no detection finds, and none would with another class or a better box.
    """

    KINDS: ClassVar[Mapping[str, str]] = {
        "class": "the box is right (IoU of 0.5 or more), but the object is of another class",
        "place": "the class is right, but the box is not (IoU of 0.1 to 0.5)",
        "class_and_place": "neither is: the IoU with an object of another class is 0.1 to 0.5",
        "duplicate": "an object that a detection with a higher score has found",
        "background": "nothing is there (IoU with every object below 0.1)",
        "missed": "an object without any of these: nothing is detected there, or only with class and box wrong",
    }
    kind: Ints
    missed: Ints

    @property
    def counts(self) -> dict[str, int]:
        """Number of errors of each kind."""
        numbers = np.bincount(self.kind[self.kind != NONE], minlength=len(self.KINDS))
        return dict(zip(self.KINDS, [*numbers[:-1].tolist(), len(self.missed)], strict=True))


def errors_at(matches: Matches, threshold: float) -> Errors:
    """Errors among the detections with a score of `threshold` or more."""
    least = IOU_THRESHOLDS[0]
    of_same, of_other = matches.nearest != NONE, matches.other != NONE
    names = [*Errors.KINDS]
    kind = np.select(
        [
            of_same & (matches.nearest_iou < least),
            matches.other_iou >= least,
            of_same,
            of_other,
        ],
        [names.index(name) for name in ("place", "class", "duplicate", "class_and_place")],
        names.index("background"),
    )
    outcome, above = matches.outcome[0, 0], matches.score >= threshold
    kind = np.where(above & (outcome == WRONG), kind, NONE)
    is_missed = matches.truths.counts[0].copy()
    is_missed[matches.found[above & (outcome == RIGHT)]] = False
    is_missed[matches.nearest[kind == names.index("place")]] = False
    is_missed[matches.other[kind == names.index("class")]] = False
    return Errors(kind, np.flatnonzero(is_missed))


def confusion_at(matches: Matches, threshold: float) -> Ints:
    """Objects and detections with a score of `threshold` or more by true (row) and detected class.

    Each object and each detection counts once. An object that no detection of its class finds is taken for the class of
    the wrong detection with the highest score whose box has an IoU of 0.5 or more with it; that is its largest IoU with
    objects of other classes.

    Returns:
        int64 (K + 1, K + 1): the last column counts objects that are missed, the last row detections that are invented,
        duplicates among them. Rows of classes sum to their objects, columns to their detections, without those that a
        crowd ignores.
    """
    num_classes, truths = matches.num_classes, matches.truths
    outcome, above = matches.outcome[0, 0], matches.score >= threshold
    found, wrong = above & (outcome == RIGHT), above & (outcome == WRONG)
    taken_for = np.full(len(truths.label), num_classes)
    taken_for[matches.found[found]] = matches.label[found]
    candidates = np.flatnonzero(wrong & (matches.other_iou >= IOU_THRESHOLDS[0]))
    candidates = candidates[taken_for[matches.other[candidates]] == num_classes]
    by_score = candidates[np.lexsort((candidates, -matches.score[candidates]))]
    objects, first = np.unique(matches.other[by_score], return_index=True)
    taken_for[objects] = matches.label[by_score[first]]
    wrong[by_score[first]] = False
    counted = truths.counts[0]
    confusion = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    np.add.at(confusion, (truths.label[counted], taken_for[counted]), 1)
    confusion[num_classes] += np.bincount(matches.label[wrong], minlength=num_classes + 1)
    return confusion


def missed_and_invented(matches: Matches, threshold: float) -> tuple[Bools, Bools]:
    """Which objects no detection of their class finds (m,), and which detections find none (n,)."""
    outcome, above = matches.outcome[0, 0], matches.score >= threshold
    is_missed = matches.truths.counts[0].copy()
    is_missed[matches.found[above & (outcome == RIGHT)]] = False
    return is_missed, above & (outcome == WRONG)
