"""What a task's metrics are without a network: the same answer for every image, which a training has to beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from visiontasks.ops.boxes import iou

MAX_GUESSES = 5
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)


class Annotations(Protocol):
    """What the samples of a split are annotated with."""

    def __len__(self) -> int:
        """Samples."""
        ...

    def class_counts(self) -> npt.NDArray[np.int64]:
        """Images, objects or pixels of each class, (K,)."""
        ...

    def unit_boxes(self) -> npt.NDArray[np.float64]:
        """The boxes of all images, xyxy divided by the image's width and height, (N, 4)."""
        ...


@dataclass(frozen=True)
class Baseline:
    """The metrics of one constant answer.

    Args:
        name: Of the answer: "majority class (bees)".
        meaning: What is answered, a phrase.
        metrics: Values by the metrics' names without the split.
    """

    name: str
    meaning: str
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_json(self, split: str) -> dict[str, Any]:
        """The entry in result.json."""
        metrics = {f"{split}/{name}": value for name, value in self.metrics.items()}
        return {"name": self.name, "meaning": self.meaning, "metrics": metrics}


def majority_class(training: Annotations, measured: Annotations, class_names: Sequence[str]) -> Baseline:
    """Accuracies of the class that most training samples have.

    Args:
        training: The training split, which chooses the class.
        measured: The split that is measured.
        class_names: The classes, K.
    """
    ranked = np.argsort(-training.class_counts(), kind="stable")
    counts = measured.class_counts()
    total = max(1, int(counts.sum()))
    metrics = {
        "top1": float(counts[ranked[0]] / total),
        "macro_accuracy": float(counts[ranked[0]] > 0) / max(1, int((counts > 0).sum())),
    }
    if len(counts) > MAX_GUESSES:
        metrics["top5"] = float(counts[ranked[:MAX_GUESSES]].sum() / total)
    name = class_names[ranked[0]]
    return Baseline(f"majority class ({name})", f"answers {name} for every image", metrics)


def label_frequencies(measured: Annotations) -> Baseline:
    """Average precision where all images get the same probability: the share of them that have the label.

    Args:
        measured: The split that is measured; a label that is unknown counts as one that the image has not.
    """
    counts = measured.class_counts()
    shares = counts[counts > 0] / max(1, len(measured))
    metrics = {"map": float(shares.mean()) if len(shares) else 0.0}
    return Baseline("the labels' frequencies", "gives each label the same probability for every image", metrics)


def majority_pixel_class(training: Annotations, measured: Annotations, class_names: Sequence[str]) -> Baseline:
    """Mean IoU and pixel accuracy of masks that are the most frequent training class all over.

    That class has an IoU of its share of the pixels, each other one that occurs has 0.

    Args:
        training: The training split, which chooses the class.
        measured: The split that is measured.
        class_names: The classes, K.
    """
    label = int(training.class_counts().argmax())
    counts = measured.class_counts()
    share = float(counts[label] / max(1, int(counts.sum())))
    num_classes = int((counts > 0).sum()) + int(counts[label] == 0)
    name = class_names[label]
    metrics = {"miou": share / num_classes, "pixel_accuracy": share}
    return Baseline(f"most frequent class ({name})", f"answers {name} for every pixel", metrics)


def constant_box(training: Annotations, measured: Annotations) -> Baseline | None:
    """Overlap of one box for every image: the mean training box or the whole image, whichever has the higher mean IoU.

    Args:
        training: The training split, with a box for each image.
        measured: The split that is measured, with a box for each image.

    Returns:
        None if a split has no box.
    """
    boxes, truth = training.unit_boxes(), torch.from_numpy(measured.unit_boxes())
    if not len(boxes) or not len(truth):
        return None
    constants = {"mean training box": boxes.mean(0), "whole image": np.array(WHOLE_IMAGE)}
    overlaps = {name: iou(torch.from_numpy(box).expand_as(truth), truth) for name, box in constants.items()}
    name = max(overlaps, key=lambda name: float(overlaps[name].mean()))
    of_best = overlaps[name]
    metrics = {
        "iou": float(of_best.mean()),
        "iou50": float((of_best >= 0.5).double().mean()),
        "iou75": float((of_best >= 0.75).double().mean()),
    }
    meanings = {"mean training box": "the mean of the training boxes for every image"}
    return Baseline(name, f"answers {meanings.get(name, 'a box around the whole image')}", metrics)
