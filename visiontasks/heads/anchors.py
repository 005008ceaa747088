"""Anchors: boxes at each cell of each level, of which a detector learns which are objects and how far they are off.

Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks. Shaoqing Ren et al., 2015.
https://arxiv.org/abs/1506.01497

Why not torchvision's AnchorGenerator, Matcher and BoxCoder: the first takes the image's size by the map's for a stride,
which is 7, 15, 30 and 60 at 300 px; the second gives all anchors to an object that touches none of them, or none to one
of two objects with the same best anchor; in bfloat16 the first and the third round boxes to several pixels.
"""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor
from torchvision.ops import box_iou

from visiontasks.heads.detection import Objects
from visiontasks.ops.boxes import xyxy_to_cxcywh
from visiontasks.ops.detection import cell_centres

NONE, IGNORED = -1, -2
"""In place of an object's row: of an anchor that is background, and of one that is not trained."""
LARGEST_GROWTH = log(1000 / 16)
"""Of the logarithm of a side, so that a wild value stays finite."""
MOST_IN_CROWD = 0.5
"""Share of an anchor in a crowd from which on it is ignored."""


def level_anchors(
    levels: Sequence[Tensor], strides: Sequence[int], *, scales: Sequence[float], ratios: Sequence[float]
) -> Tensor:
    """Anchors around the centres of all cells.

    Args:
        levels: Maps (B, C, h, w).
        strides: Of each, in pixels.
        scales: Square roots of the areas, in strides.
        ratios: Heights by widths.

    Returns:
        xyxy in pixels, float32 (A, 4): level by level, row by row, in each cell by scale, then by ratio.
    """
    found = []
    for level, stride in zip(levels, strides, strict=True):
        sides = [
            (stride * scale / ratio**0.5, stride * scale * ratio**0.5) for scale in scales for ratio in ratios
        ]  # width, height
        half = torch.tensor(sides, dtype=torch.float32, device=level.device) / 2
        centres = cell_centres(level.shape[2], level.shape[3], stride, level.device)
        found.append(torch.cat([centres[:, None] - half, centres[:, None] + half], -1).flatten(0, 1))
    return torch.cat(found)


def encode(boxes: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """How far boxes are from their anchors: of the centre in sides of the anchor, and logarithms of the sides' ratios.

    Args:
        boxes: xyxy, (N, 4).
        anchors: xyxy, (N, 4), with area.
        weights: Factors of x, y, width and height.

    Returns:
        float32 (N, 4).
    """
    box, anchor = xyxy_to_cxcywh(boxes.float()), xyxy_to_cxcywh(anchors.float())
    moved = (box[:, :2] - anchor[:, :2]) / anchor[:, 2:]
    grown = (box[:, 2:].clamp_min(1e-3) / anchor[:, 2:]).log()
    return torch.cat([moved, grown], 1) * boxes.new_tensor(list(weights), dtype=torch.float32)


def decode(deltas: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """The inverse of `encode`.

    Args:
        deltas: (..., N, 4).
        anchors: xyxy, (N, 4), or of the shape of `deltas`.
        weights: See `encode`.

    Returns:
        xyxy, float32, of the shape of `deltas`.
    """
    by = deltas.float() / deltas.new_tensor(list(weights), dtype=torch.float32)
    anchor = xyxy_to_cxcywh(anchors.float())
    centre = anchor[..., :2] + by[..., :2] * anchor[..., 2:]
    half = anchor[..., 2:] * by[..., 2:].clamp_max(LARGEST_GROWTH).exp() / 2
    return torch.cat([centre - half, centre + half], -1)


@torch.no_grad()
def match_anchors(anchors: Tensor, objects: Objects, *, high: float, low: float) -> Tensor:
    """Which object each anchor learns: the one with the largest IoU, if that is `high` or more.

    An object that gets no anchor so takes the free one with the largest IoU, or, where none touches it, the nearest.

    Args:
        anchors: xyxy, (A, 4).
        objects: Of an image.
        high: IoU from which on an anchor is an object.
        low: IoU below which it is background; between the two it is ignored.

    Returns:
        Rows of the objects, int64 (A,); NONE, or IGNORED, also for an anchor of no object that lies in a crowd.
    """
    owner = torch.full((len(anchors),), NONE, dtype=torch.int64, device=anchors.device)
    if len(objects.labels) == 0:
        return owner
    boxes = objects.boxes.float()
    overlap = box_iou(anchors, boxes)
    countable = overlap.masked_fill(objects.crowd, -1.0)
    best, row = countable.max(1)
    owner = torch.where(best >= high, row, torch.where(best >= low, IGNORED, NONE))
    _give_missed(owner, anchors, boxes, countable, objects.crowd)
    if objects.crowd.any():
        inside = _share_inside(anchors, boxes[objects.crowd]).amax(1) >= MOST_IN_CROWD
        owner = torch.where((owner == NONE) & inside, IGNORED, owner)
    return owner


def _give_missed(owner: Tensor, anchors: Tensor, boxes: Tensor, overlap: Tensor, crowd: Tensor) -> None:
    """Give each object without an anchor the best free one, in place."""
    learned = torch.zeros_like(crowd)
    learned[owner[owner >= 0]] = True
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    for row in (~learned & ~crowd).nonzero().squeeze(1).tolist():
        far = (centres - (boxes[row, :2] + boxes[row, 2:]) / 2).abs().amax(1)
        rank = overlap[:, row] - far * 1e-6 - torch.where(owner >= 0, 1e6, 0.0)
        owner[rank.argmax()] = row


def _share_inside(anchors: Tensor, regions: Tensor) -> Tensor:
    """The share of each anchor in each region, (A, R)."""
    low = torch.maximum(anchors[:, None, :2], regions[None, :, :2])
    high = torch.minimum(anchors[:, None, 2:], regions[None, :, 2:])
    area = (anchors[:, 2:] - anchors[:, :2]).prod(1).clamp_min(1e-6)
    return (high - low).clamp_min(0).prod(2) / area.unsqueeze(1)
