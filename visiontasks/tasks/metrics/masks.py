"""Metrics of segmentation over a whole split, from one confusion matrix."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from visiontasks.ops.losses import IGNORED
from visiontasks.ops.metrics import ratio_values
from visiontasks.tasks.metrics.classification import mean_of
from visiontasks.tasks.metrics.values import MetricFacts


class MaskMetrics(Metric):
    """Counts of pixels by true and predicted class, from which IoU and accuracy follow.

    Everything is summed over the pixels of the whole split, as PASCAL VOC does it, not averaged over images as by
    torchmetrics' MeanIoU, which cannot ignore pixels either. A class that neither occurs nor is predicted has no IoU
    (NaN) and no part in the mean; one that is predicted but does not occur has 0 and counts.

    Args:
        num_classes: K.
    """

    facts: ClassVar[Mapping[str, MetricFacts]] = {
        "miou": MetricFacts(
            "mean IoU: of each class the pixels in both masks divided by the pixels in either, over the whole split, "
            "averaged over the classes; 0 without overlap, 1 for a perfect match",
            headline="mean IoU of predicted and true masks on the {split} images (0: no overlap, 1: perfect)",
            note="The IoU of an image is the mean over the classes in it. The result above sums the pixels of all "
            "images first, so it differs from the mean of these.",
        ),
        "pixel_accuracy": MetricFacts("share of pixels whose class is right", in_percent=True),
        "loss": MetricFacts(
            "cross-entropy of the pixels, averaged over the images; lower is better", lower_is_better=True
        ),
        "class_iou": MetricFacts("IoU of each class"),
    }
    full_state_update = False
    confusion: Tensor
    parts: list[Tensor]  # of each image the pixels in both masks by class, and those that are right, (1, K + 1)
    wholes: list[Tensor]  # those in either mask by class, and all that are labelled
    losses: list[Tensor]
    num_images: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("losses", "parts", "wholes"):
            self.add_state(name, [], dist_reduce_fx="cat")  # a sum would depend on who adds up what
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, confusion: Tensor, loss: Tensor) -> None:
        """Add one image.

        Args:
            confusion: What `confusion_matrix` gives for it, (K, K).
            loss: Its loss, a scalar.
        """
        self.confusion += confusion
        self.losses.append(loss.view(1))
        intersection, union = overlaps(confusion)
        self.parts.append(torch.cat([intersection, intersection.sum().view(1)]).unsqueeze(0))
        self.wholes.append(torch.cat([union, confusion.sum().view(1)]).unsqueeze(0))
        self.num_images += 1

    def compute(self) -> dict[str, Tensor]:
        """Values by name.

        `class_iou` is (K,), NaN for a class that does not occur; `confusion` counts the pixels by true (row) and
        predicted class, int64 (K, K); n is the number of images. `<name>_by_sample`, (n,), has the mean `<name>`.
        """
        iou = class_iou(self.confusion)
        parts, wholes = dim_zero_cat(self.parts), dim_zero_cat(self.wholes)
        return {
            "miou": iou.nanmean(),
            "pixel_accuracy": self.confusion.diagonal().sum() / self.confusion.sum(),
            "loss": mean_of(self.losses, self.num_images),
            "n": self.num_images.float(),
            "class_iou": iou,
            "confusion": self.confusion.clone(),  # the next update adds to it in place
            "miou_by_sample": ratio_values(parts[:, :-1], wholes[:, :-1]),
            "pixel_accuracy_by_sample": ratio_values(parts[:, -1:], wholes[:, -1:]),
        }


def confusion_matrix(logits: Tensor, mask: Tensor) -> Tensor:
    """Count the labelled pixels of an image by true (row) and predicted class.

    Args:
        logits: (K, H, W); a pixel with a NaN among them is wrong.
        mask: Class indices or 255 for ignored, int64 (H, W).

    Returns:
        (K, K), int64.
    """
    num_classes = len(logits)
    labelled = mask != IGNORED
    truth = mask[labelled]
    a_wrong_one = torch.where(truth > 0, 0, num_classes - 1)
    predicted = torch.where(logits.isnan().any(0)[labelled], a_wrong_one, logits.argmax(0)[labelled])
    return torch.bincount(truth * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def class_iou(confusion: Tensor) -> Tensor:
    """IoU of each class (K,) from pixels by true (row) and predicted class (K, K); NaN where there are none."""
    intersection, union = overlaps(confusion)
    # By name: in a step with bf16-true, integers are divided to bfloat16.
    return intersection.float() / union.float().where(union > 0, torch.nan)


def overlaps(confusion: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels in both masks and in either of them by class, (K,) each, from pixels by true and predicted class."""
    intersection = confusion.diagonal()
    return intersection, confusion.sum(0) + confusion.sum(1) - intersection
