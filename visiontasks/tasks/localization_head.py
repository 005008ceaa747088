"""The head of localization: class scores and boxes, side by side on one feature vector."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.tasks.made_heads import check_head, make_head

HeadFactory = Callable[[int, int], nn.Module]
Outputs = tuple[Tensor | None, Tensor]  # logits and boxes

BOX_HEAD, CLASS_HEAD = "model.init_args.box_head", "model.init_args.class_head"


class LocalizationHead(nn.Module):
    """Class scores and boxes, side by side on one feature vector.

    Args:
        classes: Maps features (B, D) to logits (B, N * K); None for boxes alone.
        boxes: Maps features (B, D + C * G * G) to boxes (B, N, 4), or (B, K, 4) for a box per class.
        num_objects: N.
        box_grid: G, see `LocalizationTask`.
        freeze_classes: Keeps the class head as it is: no gradient, and in eval mode whoever calls `train()`.
    """

    def __init__(
        self,
        classes: nn.Module | None,
        boxes: nn.Module,
        *,
        num_objects: int = 1,
        box_grid: int = 0,
        freeze_classes: bool = False,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.boxes = boxes
        self.num_objects = num_objects
        self.box_grid = box_grid
        self.freeze_classes = freeze_classes
        if classes is not None and freeze_classes:
            classes.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "LocalizationHead":
        """Change the mode of all but a frozen class head."""
        super().train(mode)
        if self.classes is not None and self.freeze_classes:
            self.classes.eval()
        return self

    def forward(self, feature: Tensor, feature_map: Tensor) -> Outputs:
        """Map features (B, D) and their map (B, C, h, w) to logits (B, N, K), None without classes, and boxes."""
        box_input = feature
        if self.box_grid:
            grid = F.adaptive_avg_pool2d(feature_map, self.box_grid) / self.box_grid  # about as long as the vector
            box_input = torch.cat([feature, grid.flatten(1)], 1)
        boxes: Tensor = self.boxes(box_input)
        if self.classes is None:
            return None, boxes.float()
        logits: Tensor = self.classes(feature)
        return logits.float().view(feature.shape[0], self.num_objects, -1), boxes.float()


def make_localization_head(
    class_head: HeadFactory | None,
    box_head: HeadFactory,
    in_features: int,
    box_features: int,
    num_classes: int,
    *,
    num_objects: int,
    per_class_boxes: bool,
    box_grid: int,
    freeze_classes: bool,
) -> LocalizationHead:
    """Make both heads, and check what they give."""
    classes = None
    if class_head is not None:
        classes = make_head(CLASS_HEAD, class_head, in_features, num_objects * num_classes)
        check_head(CLASS_HEAD, classes, in_features, (num_objects * num_classes,))
    num_boxes = num_classes if per_class_boxes else num_objects
    boxes = make_head(BOX_HEAD, box_head, box_features, num_boxes)
    check_head(BOX_HEAD, boxes, box_features, (num_boxes, 4))
    return LocalizationHead(classes, boxes, num_objects=num_objects, box_grid=box_grid, freeze_classes=freeze_classes)
