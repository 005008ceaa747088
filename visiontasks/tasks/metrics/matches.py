"""Detections and true objects of a split, and which finds which: what all numbers of object detection are from.

`box_matching` makes the matches; `precision_recall`, `bootstrap` and `detection_errors` count them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Outcomes = npt.NDArray[np.int8]

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 1024.0), "medium": (1024.0, 9216.0), "large": (9216.0, 1e10)}
"""Areas of objects in square pixels, both ends included: up to 32 x 32 px, up to 96 x 96 px, and above."""
MOST_DETECTIONS = 100
"""Of an image and class."""
LEAST_OVERLAP = 0.1
"""IoU below which a detection has nothing to do with an object, as in TIDE, see `detection_errors`."""
WRONG, RIGHT, IGNORED = 0, 1, 2
NONE = -1


@dataclass(frozen=True, eq=False)
class Detected:
    """Detections of a split.

    Args:
        image: The image of each, 0..I-1, int64 (n,).
        label: Class index, int64 (n,).
        score: float64 (n,); NaN counts as the lowest.
        box: xyxy in pixels of the original image, float64 (n, 4); one with NaN finds nothing.
    """

    image: Ints
    label: Ints
    score: Floats
    box: Floats


@dataclass(frozen=True, eq=False)
class Truths:
    """True objects of a split.

    Args:
        image: The image of each, 0..I-1, int64 (m,).
        label: Class index, int64 (m,).
        box: xyxy in pixels of the original image, float64 (m, 4).
        crowd: Whether it is a region of many objects, where detections are ignored, bool (m,).
        area: Of the object in square pixels, which need not be that of its box, float64 (m,).
    """

    image: Ints
    label: Ints
    box: Floats
    crowd: Bools
    area: Floats

    def __getitem__(self, rows: Ints) -> "Truths":
        return Truths(self.image[rows], self.label[rows], self.box[rows], self.crowd[rows], self.area[rows])

    @property
    def counts(self) -> Bools:
        """Whether an object is to be found, for each of AREAS, (A, m)."""
        return np.stack([~self.crowd & (low <= self.area) & (self.area <= high) for low, high in AREAS.values()])


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of each detection.

    Args:
        num_images: I.
        num_classes: K.
        truths: In the order of their images.
        image: The image of each detection, (n,); detections are in the order of class, falling score, and image.
        label: Class index of each detection, (n,).
        score: (n,).
        rank: Place of a detection in its image and class by score, from 0, (n,).
        outcome: WRONG, RIGHT or IGNORED for each of AREAS and IOU_THRESHOLDS, int8 (A, T, n).
        found: Row of the object that a detection takes at an IoU of 0.5, of any size, -1 for none, (n,).
        nearest: Row of the object of its class with the largest IoU, if that is LEAST_OVERLAP or more; else -1, (n,).
        nearest_iou: That IoU, 0 for none, (n,).
        other: The same of objects of other classes, (n,).
        other_iou: Their IoU, (n,).
    """

    num_images: int
    num_classes: int
    truths: Truths
    image: Ints
    label: Ints
    score: Floats
    rank: Ints
    outcome: Outcomes
    found: Ints
    nearest: Ints
    nearest_iou: Floats
    other: Ints
    other_iou: Floats

    def __len__(self) -> int:
        return len(self.score)
