"""Metrics of localization over a whole split: how well boxes agree, and whether the class is right too."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from visiontasks.tasks.metrics.classification import LOSS, mean_of
from visiontasks.tasks.metrics.values import MetricFacts

COUNTS = ("num_objects", "num_boxes", "correct", "above_50", "above_75", "localized_top1", "localized_top5")


class BoxMetrics(Metric):
    """Counts and sums over objects, from which every value follows, exact with any batch size and number of processes.

    The localization error is that of Olga Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge",
    2015, https://arxiv.org/abs/1409.0575: an object is wrong unless one of the guesses has its class and a box with an
    IoU of at least 0.5. There an image may hold several objects of its class, and a box on any of them is right; here
    it is on the one that is annotated.

    Args:
        num_classes: K; 0 where only boxes are predicted, then no value is about classes.
        class_weight: Factor of the class loss in the loss.
    """

    facts: ClassVar[Mapping[str, MetricFacts]] = {
        "iou": MetricFacts(
            "mean overlap of predicted and true box: the area in both divided by the area in either; 0 without "
            "overlap, 1 for a perfect match",
            headline="mean IoU of predicted and true boxes on the {split} images (0: no overlap, 1: perfect)",
        ),
        "iou50": MetricFacts("share of objects whose box has an IoU of 0.5 or more", is_share=True),
        "iou75": MetricFacts("share of objects whose box has an IoU of 0.75 or more", is_share=True, is_detail=True),
        "loss": MetricFacts(f"box loss and weighted class loss, {LOSS.meaning}", lower_is_better=True),
        "top1": MetricFacts("share of objects whose most probable class is the true one", is_share=True),
        "localization_error_top1": MetricFacts(
            "share of objects with a wrong class, or a box with an IoU below 0.5", is_share=True, lower_is_better=True
        ),
        "localization_error_top5": MetricFacts(
            "the same, where one of the five most probable classes may be right",
            is_share=True,
            lower_is_better=True,
            is_detail=True,
        ),
    }
    full_state_update = False
    num_objects: Tensor
    num_boxes: Tensor
    correct: Tensor
    above_50: Tensor
    above_75: Tensor
    localized_top1: Tensor
    localized_top5: Tensor
    ious: list[Tensor]
    box_losses: list[Tensor]
    class_losses: list[Tensor]

    def __init__(self, num_classes: int = 0, class_weight: float = 1.0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.class_weight = class_weight
        for name in COUNTS:
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("ious", "box_losses", *(["class_losses"] if num_classes else [])):
            self.add_state(name, [], dist_reduce_fx="cat")  # a sum would depend on who adds up what

    def update(
        self, iou: Tensor, box_loss: Tensor, is_right: Tensor | None = None, class_loss: Tensor | None = None
    ) -> None:
        """Add objects.

        Args:
            iou: IoU of the box of each guess at the object's class, the most probable first, (n, G), float32; NaN in
                the rows of objects without a true box. G is at least min(5, K), 1 without classes.
            box_loss: Of each object, (n,); anything in rows without a true box.
            is_right: Whether a guess is the object's class, bool (n, G); None without classes.
            class_loss: Of each object, (n,); None without classes.
        """
        has_box = ~iou[:, 0].isnan()
        iou, of_boxes = iou[has_box], box_loss[has_box]
        self.num_objects += len(has_box)
        self.num_boxes += has_box.sum()
        self.ious.append(iou[:, 0])
        self.above_50 += (iou[:, 0] >= 0.5).sum()
        self.above_75 += (iou[:, 0] >= 0.75).sum()
        self.box_losses.append(of_boxes)
        if is_right is None or class_loss is None:
            return
        is_localized = is_right[has_box] & (iou >= 0.5)
        self.correct += is_right[:, 0].sum()
        self.localized_top1 += is_localized[:, 0].sum()
        self.localized_top5 += is_localized[:, :5].any(1).sum()
        self.class_losses.append(class_loss)

    def compute(self) -> dict[str, Tensor]:
        """Values by name; n counts objects, which are samples where an image has one.

        Values about boxes are over the objects with a true box, NaN if there are none. localization_error_top5 only
        above 5 classes.
        """
        values = {
            "iou": mean_of(self.ious, self.num_boxes),
            "iou50": self.above_50 / self.num_boxes,
            "iou75": self.above_75 / self.num_boxes,
            "loss": mean_of(self.box_losses, self.num_boxes.clamp_min(1)),
            "n": self.num_objects.float(),
        }
        if self.num_classes:
            values["loss"] = values["loss"] + self.class_weight * mean_of(self.class_losses, self.num_objects)
            values["top1"] = self.correct / self.num_objects
            values["localization_error_top1"] = 1 - self.localized_top1 / self.num_boxes
        if self.num_classes > 5:
            values["localization_error_top5"] = 1 - self.localized_top5 / self.num_boxes
        return values
