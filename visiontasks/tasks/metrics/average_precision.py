"""Average precision of object detection over a whole split, with whatever else follows from the matched detections.

`box_matching` and `precision_recall` have the computation, and why it is our own; `bootstrap` has intervals,
`detection_errors` the kinds of errors and the confusion, `match_rows` what is stored to compare two networks.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from visiontasks.tasks.metrics.bootstrap import Interval, precision_intervals
from visiontasks.tasks.metrics.box_matching import match
from visiontasks.tasks.metrics.matches import Detected, Floats, Matches, Truths
from visiontasks.tasks.metrics.precision_recall import (
    DEFAULT_THRESHOLD,
    LIMITS,
    Curves,
    best_threshold,
    counts_at,
    mean_known,
    precision_recall,
)
from visiontasks.tasks.metrics.values import MetricFacts

_AT_THRESHOLD = "with a score of the threshold or more, all classes together, at an IoU of 0.5"
_SIZES = {
    "small": "of up to 32 x 32 px",
    "medium": "between 32 x 32 and 96 x 96 px",
    "large": "of 96 x 96 px or more",
}


class DetectedBoxes(TypedDict):
    """What is detected in an image.

    `boxes` are xyxy in pixels of the original image, (N, 4), `scores` (N,), higher is surer, `labels` class indices
    (N,); N may be 0.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class TrueBoxes(TypedDict):
    """The objects of an image.

    `boxes` are xyxy in pixels of the original image, (M, 4), `labels` class indices (M,); `crowd`, bool (M,), marks
    regions where detections are ignored; `area`, (M,), in square pixels, is that of the boxes where it is not given.
    """

    boxes: Tensor
    labels: Tensor
    crowd: NotRequired[Tensor]
    area: NotRequired[Tensor]


class AveragePrecision(Metric):
    """COCO's average precision and recall, and precision, recall and F1 at a threshold of the score.

    Exact with any batch size and number of processes: what is gathered are the boxes, and images are taken in the order
    of their indices, which decides between equal scores. A value that no object defines is NaN.

    Args:
        num_classes: K.
        threshold: Of the score, at which precision, recall and F1 are measured; None for the one with the highest F1 of
            the split that is measured. It can be set at any time: a task takes that of the validation split.
    """

    facts: ClassVar[Mapping[str, MetricFacts]] = {
        "map": MetricFacts(
            "average precision (AP): the area under the curve of precision over recall, mean over the classes and over "
            "IoU from 0.50 to 0.95, as COCO measures it",
            headline="is how well the objects of the {split} images are detected (mAP, 1 is best)",
            note="The F1 of an image is 2 x right / (detections + objects) at the threshold; with the right class and "
            "an IoU of 0.5 or more a detection is right. The mAP is over all scores and a range of IoU, so it is not "
            "the mean of these.",
        ),
        "map50": MetricFacts("the same at an IoU of 0.50: boxes need to be about right"),
        "map75": MetricFacts("the same at an IoU of 0.75: boxes need to be close"),
        **{f"map_{size}": MetricFacts(f"the same of objects {pixels}") for size, pixels in _SIZES.items()},
        "mar1": MetricFacts("mean recall, as mAP over classes and IoU, with one detection per image and class"),
        "mar10": MetricFacts("the same with 10 detections per image and class"),
        "mar100": MetricFacts("the same with 100 detections per image and class: what could be found at all"),
        **{f"mar_{size}": MetricFacts(f"the same of objects {pixels}") for size, pixels in _SIZES.items()},
        "precision": MetricFacts(f"share of detections that are right, {_AT_THRESHOLD}"),
        "recall": MetricFacts(f"share of objects that are found, {_AT_THRESHOLD}"),
        "f1": MetricFacts("harmonic mean of precision and recall at the threshold"),
        "threshold": MetricFacts("score that a detection needs; that with the highest F1 on the validation split"),
        "class_map": MetricFacts("average precision of each class, mean over IoU from 0.50 to 0.95"),
        "class_map50": MetricFacts("average precision of each class at an IoU of 0.50"),
        "class_precision": MetricFacts("share of the detections of each class that are right, at the threshold"),
        "class_recall": MetricFacts("share of the objects of each class that are found, at the threshold"),
        "class_f1": MetricFacts("harmonic mean of the two"),
        "class_objects": MetricFacts("number of objects of each class, crowds apart"),
    }
    full_state_update = False
    images: list[Tensor]
    detections: list[Tensor]
    truths: list[Tensor]

    def __init__(self, num_classes: int, threshold: float | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.threshold = threshold
        self.used_threshold = DEFAULT_THRESHOLD
        """That of the last `compute`."""
        self.matches: Matches | None = None
        # Where a process has no image, torchmetrics sends an empty vector of this type, which has to be that of the
        # others: all states are vectors of float64, in which whole numbers up to 2^53 are exact.
        self.set_dtype(torch.float64)
        for name in ("images", "detections", "truths"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, index: Tensor, detected: Sequence[DetectedBoxes], truth: Sequence[TrueBoxes]) -> None:
        """Add images.

        Args:
            index: Rows of the images in their split, int64 (B,).
            detected: Of each image, B.
            truth: Of each image, B.

        Raises:
            ValueError: If the numbers of images, or of boxes, scores and labels differ.
        """
        if not len(index) == len(detected) == len(truth):
            raise ValueError(f"expected as many detections and truths as images, got {len(detected)} and {len(truth)}")
        numbers = [index, *(torch.tensor([len(each["labels"]) for each in part]) for part in (detected, truth))]
        self._add(self.images, [torch.stack([column.cpu().double() for column in numbers], 1)])
        self._add(self.detections, [_rows(each["boxes"], each["scores"], each["labels"]) for each in detected])
        self._add(self.truths, [_true_rows(each) for each in truth])

    def compute(self) -> dict[str, Tensor]:
        """Values by name, float64; those of classes (K,).

        What they come from is in `matches` from then on, over all processes.
        """
        self.matches = matches = self._matched()
        curves = precision_recall(matches)
        self.used_threshold = best_threshold(matches) if self.threshold is None else self.threshold
        counts = counts_at(matches, self.used_threshold)
        total = counts.total
        values = {
            **coco_values(curves),
            "precision": total.precision[0],
            "recall": total.recall[0],
            "f1": total.f1[0],
            "threshold": self.used_threshold,
            "n": matches.num_images,
            "class_map": curves.average_precision.mean(0),
            "class_map50": curves.average_precision[0],
            "class_precision": counts.precision,
            "class_recall": counts.recall,
            "class_f1": counts.f1,
            "class_objects": counts.objects,
        }
        return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()}

    def intervals(self) -> dict[str, Interval]:
        """95 % intervals of what `compute` gave last, by bootstrap over the images; takes seconds for thousands.

        Raises:
            ValueError: If nothing was computed.
        """
        if self.matches is None:
            raise ValueError("nothing was computed: call compute() first")
        return precision_intervals(self.matches, self.used_threshold)

    def reset(self) -> None:
        """Forget the images, and what came of them."""
        super().reset()
        self.matches = None

    def _add(self, state: list[Tensor], rows: Sequence[Tensor]) -> None:
        device = "cpu" if self.device.type == "mps" else self.device  # Apple's GPUs have no float64
        state.append(torch.cat([*rows]).flatten().to(device))

    def _matched(self) -> Matches:
        """Everything that was added, in the order of the images."""
        images = _table(self.images, 3).astype(np.int64)
        place = np.empty(len(images), np.int64)
        place[np.argsort(images[:, 0], kind="stable")] = np.arange(len(images))
        found, true = _table(self.detections, 6), _table(self.truths, 7)
        detected = Detected(np.repeat(place, images[:, 1]), found[:, 5].astype(np.int64), found[:, 4], found[:, :4])
        label, crowd, area = true[:, 4].astype(np.int64), true[:, 5] > 0, true[:, 6]
        truths = Truths(np.repeat(place, images[:, 2]), label, true[:, :4], crowd, area)
        return match(detected, truths, num_images=len(images), num_classes=self.num_classes)


def coco_values(curves: Curves) -> dict[str, float]:
    """COCO's twelve numbers by name; NaN where no object defines one."""
    precision, recall = curves.precision, curves.recall
    sizes = dict(enumerate(_SIZES, start=1))
    return {
        "map": mean_known(precision[0]),
        "map50": mean_known(precision[0, 0]),
        "map75": mean_known(precision[0, 5]),
        **{f"map_{size}": mean_known(precision[row]) for row, size in sizes.items()},
        **{f"mar{most}": mean_known(recall[0, row]) for row, most in enumerate(LIMITS)},
        **{f"mar_{size}": mean_known(recall[row, -1]) for row, size in sizes.items()},
    }


def _table(state: Tensor | list[Tensor], columns: int) -> Floats:
    """The rows of a state, which is one tensor where it was gathered."""
    gathered = dim_zero_cat(state) if len(state) else torch.zeros(0)
    return np.asarray(gathered.cpu().double().view(-1, columns).numpy())


def _true_rows(truth: TrueBoxes) -> Tensor:
    boxes, labels = truth["boxes"].cpu().double(), truth["labels"]
    crowd = truth.get("crowd", torch.zeros_like(labels))
    area = truth.get("area", (boxes[:, 2:] - boxes[:, :2]).prod(1))
    return _rows(boxes, labels, crowd, area)


def _rows(boxes: Tensor, *columns: Tensor) -> Tensor:
    """Boxes (N, 4) with further columns (N,), float64 (N, 4 + columns).

    Raises:
        ValueError: If they are not of equal length.
    """
    lengths = [len(column) for column in columns]
    if boxes.shape != (len(boxes), 4) or set(lengths) != {len(boxes)}:
        raise ValueError(f"expected boxes (N, 4) and N values each, got {tuple(boxes.shape)} and {lengths}")
    return torch.cat([boxes.cpu().double(), *(column.cpu().double().unsqueeze(1) for column in columns)], 1)
