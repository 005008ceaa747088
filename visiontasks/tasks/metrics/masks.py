"""Metrics of segmentation over a whole split, from one confusion matrix."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from visiontasks.ops.losses import IGNORED
from visiontasks.tasks.metrics.classification import LOSS, mean_of
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
            "mean over the classes of their IoU: pixels in both masks by pixels in either, over the whole split",
            headline="is how well the predicted masks of the {split} images cover the true ones (mean IoU, 1 is best)",
            note="The IoU of an image is the mean over the classes in it. The result above counts the pixels of all "
            "images as one, so it is not the mean of these.",
        ),
        "pixel_accuracy": MetricFacts("share of pixels whose class is right", in_percent=True),
        "loss": LOSS,
        "class_iou": MetricFacts("IoU of each class"),
    }
    full_state_update = False
    confusion: Tensor
    losses: list[Tensor]
    num_images: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("losses", [], dist_reduce_fx="cat")  # a sum would depend on who adds up what
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, confusion: Tensor, loss: Tensor) -> None:
        """Add one image.

        Args:
            confusion: What `confusion_matrix` gives for it, (K, K).
            loss: Its loss, a scalar.
        """
        self.confusion += confusion
        self.losses.append(loss.view(1))
        self.num_images += 1

    def compute(self) -> dict[str, Tensor]:
        """Values by name.

        `class_iou` is (K,), NaN for a class that does not occur; `confusion` counts the pixels by true (row) and
        predicted class, int64 (K, K); n is the number of images.
        """
        iou = class_iou(self.confusion)
        return {
            "miou": iou.nanmean(),
            "pixel_accuracy": self.confusion.diagonal().sum() / self.confusion.sum(),
            "loss": mean_of(self.losses, self.num_images),
            "n": self.num_images.float(),
            "class_iou": iou,
            "confusion": self.confusion.clone(),  # the next update adds to it in place
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
    intersection = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - intersection
    # By name: in a step with bf16-true, integers are divided to bfloat16.
    return intersection.float() / union.float().where(union > 0, torch.nan)
