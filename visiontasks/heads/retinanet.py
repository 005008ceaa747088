"""A detector with anchors in one stage: at each cell of a pyramid nine anchors, their classes and boxes.

Focal Loss for Dense Object Detection. Tsung-Yi Lin, Priya Goyal, Ross Girshick, Kaiming He, Piotr Dollár, 2017.
https://arxiv.org/abs/1708.02002

Deviations: levels and their strides are the backbone's, from 8 to 64 where it has them (the paper's go to 128, for
images of 800 px). Objects that no anchor matches get the best free one, see `visiontasks.heads.anchors`. Anchors in a
crowd are left out of the loss. Batch normalization in the pyramid.
"""

from collections.abc import Sequence
from math import log
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.heads.anchors import IGNORED, decode, encode, level_anchors, match_anchors
from visiontasks.heads.dense import Size, check_positive
from visiontasks.heads.detection import Candidates, DetectionHead, Objects, exact, prediction
from visiontasks.heads.fpn import FeaturePyramid
from visiontasks.ops.detection import focal_sum

PRIOR = 0.01
SCALES = (4.0, 4.0 * 2 ** (1 / 3), 4.0 * 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)
HIGH, LOW = 0.5, 0.4
BETA = 1 / 9
"""Of smooth L1, below which it is quadratic."""


class RetinaNetHead(DetectionHead):
    """Detects by anchors in one stage.

    Args:
        channels: Channels of each map, finest first: `feature_info.channels()`.
        reductions: Stride of each map, in the same order: `feature_info.reduction()`.
        num_classes: K, at least 1.
        width: Channels of the levels and the towers.
        depth: Convolutions of each of the two towers.
        separable: Depthwise separable convolutions in the pyramid.

    Raises:
        InputError: If a number is out of its range.
    """

    most_iou = 0.5

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        num_classes: int,
        *,
        width: int = 256,
        depth: int = 4,
        separable: bool = False,
    ) -> None:
        super().__init__()
        check_positive(width=width, depth=depth, num_classes=num_classes)
        self.num_classes = num_classes
        self.pyramid = FeaturePyramid(channels, reductions, width=width, separable=separable)
        self.maps = self.pyramid.maps
        count = len(SCALES) * len(RATIOS)
        self.class_tower, self.box_tower = tower(width, depth), tower(width, depth)
        self.classes = prediction(width, count * num_classes, bias=[-log((1 - PRIOR) / PRIOR)] * (count * num_classes))
        self.boxes = prediction(width, count * 4, bias=[0.0] * (count * 4))

    def forward(self, features: Sequence[Tensor], size: Size) -> Candidates:
        """See DetectionHead."""
        logits, deltas, anchors = self._raw(features)
        return Candidates(decode(deltas, anchors), logits.sigmoid())

    def losses(self, features: Sequence[Tensor], size: Size, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """See DetectionHead: `classes` (focal) and `boxes` (smooth L1), by the number of anchors that are objects."""
        logits, deltas, anchors = self._raw(features)
        owner = torch.stack([match_anchors(anchors, each, high=HIGH, low=LOW) for each in objects])
        target = torch.zeros_like(logits)
        boxes = deltas.sum() * 0
        count = (owner >= 0).sum().clamp_min(1)
        for image, each in enumerate(objects):
            rows = (owner[image] >= 0).nonzero().squeeze(1)
            own = owner[image, rows]
            target[image, rows, each.labels[own]] = 1
            wanted = encode(each.boxes[own], anchors[rows])
            boxes = boxes + F.smooth_l1_loss(deltas[image, rows], wanted, beta=BETA, reduction="sum")
        classes = focal_sum(logits, target, weight=(owner != IGNORED).unsqueeze(2))
        return {"classes": classes / count, "boxes": boxes / count}

    def _raw(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, A, K), deltas (B, A, 4) and anchors (A, 4), float32."""
        levels = self.pyramid(features)
        logits = [per_anchor(self.classes(self.class_tower(level)), self.num_classes) for level in levels]
        deltas = [per_anchor(exact(self.boxes, self.box_tower(level)), 4) for level in levels]
        anchors = level_anchors(levels, self.pyramid.strides, scales=SCALES, ratios=RATIOS)
        return torch.cat(logits, 1).float(), torch.cat(deltas, 1), anchors


def tower(width: int, depth: int) -> nn.Sequential:
    """Convolutions, 3x3, with ReLU; their weights are small at first, as the paper has it."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Conv2d(width, width, 3, padding=1)
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.constant_(cast(Tensor, layer.bias), 0)
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def per_anchor(x: Tensor, values: int) -> Tensor:
    """(B, anchors * values, h, w) to (B, h * w * anchors, values)."""
    batch, _, height, width = x.shape
    return x.view(batch, -1, values, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, values)
