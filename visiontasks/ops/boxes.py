"""Boxes: formats, area, and how well paired boxes agree.

A box is four numbers in the last dimension: xyxy (left, top, right, bottom) or cxcywh (centre, width, height), in any
unit. Whatever the input's type, agreement is computed in float32 at least. A side that is negative (x1 > x2) counts as
zero.
"""

from math import pi

import torch
from torch import Tensor


def xyxy_to_cxcywh(box: Tensor) -> Tensor:
    """Turn (..., 4) corners into centre and size."""
    low, high = box[..., :2], box[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def clip(box: Tensor, width: float = 1.0, height: float = 1.0) -> Tensor:
    """Cut xyxy boxes (..., 4) to an image, by default to the unit square; one that lies outside loses its area."""
    limit = box.new_tensor([width, height, width, height])
    return torch.minimum(box.clamp_min(0), limit)


def area(box: Tensor) -> Tensor:
    """Area (...,) of xyxy boxes (..., 4); zero where a side is negative."""
    return _sides(box).prod(-1)


def iou(box: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of paired boxes.

    Args:
        box: Predicted boxes, (..., 4), xyxy, any unit as long as it is target's.
        target: True boxes, of the same shape.

    Returns:
        IoU in [0, 1], (...,). Zero where either box has no area.

    Raises:
        ValueError: If the shapes differ or do not end in 4.
    """
    intersection, union = _intersection_and_union(*_paired(box, target))
    return _ratio(intersection, union)


def giou(box: Tensor, target: Tensor) -> Tensor:
    """IoU less the share of the enclosing box that neither covers, so that disjoint boxes have a gradient too.

    Generalized Intersection over Union. Hamid Rezatofighi et al., 2019. https://arxiv.org/abs/1902.09630

    Args:
        box: See iou.
        target: See iou.

    Returns:
        Values in [-1, 1], (...,). Zero where the enclosing box has no area.

    Raises:
        ValueError: If the shapes differ or do not end in 4.
    """
    box, target = _paired(box, target)
    intersection, union = _intersection_and_union(box, target)
    enclosing = area(_enclosing(box, target))
    return _ratio(intersection, union) - _ratio(enclosing - union, enclosing)


def diou(box: Tensor, target: Tensor) -> Tensor:
    """IoU less the squared distance of the centres, in units of the enclosing box's diagonal.

    Distance-IoU Loss. Zhaohui Zheng et al., 2020. https://arxiv.org/abs/1911.08287

    Args:
        box: See iou.
        target: See iou.

    Returns:
        Values in (-1, 1], (...,).

    Raises:
        ValueError: If the shapes differ or do not end in 4.
    """
    box, target = _paired(box, target)
    intersection, union = _intersection_and_union(box, target)
    distance = (_centers(box) - _centers(target)).square().sum(-1)
    diagonal = _sides(_enclosing(box, target)).square().sum(-1)
    return _ratio(intersection, union) - _ratio(distance, diagonal)


def ciou(box: Tensor, target: Tensor) -> Tensor:
    """DIoU less a weighted difference of the aspect ratios, from the paper of DIoU.

    Args:
        box: See iou.
        target: See iou.

    Returns:
        Values in (-2, 1], (...,).

    Raises:
        ValueError: If the shapes differ or do not end in 4.
    """
    box, target = _paired(box, target)
    difference = (_aspect_angle(target) - _aspect_angle(box)).square() * 4 / pi**2
    with torch.no_grad():
        weight = _ratio(difference, 1 - iou(box, target) + difference)
    return diou(box, target) - weight * difference


def _paired(box: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if box.shape != target.shape or box.shape[-1:] != (4,):
        raise ValueError(f"expected two tensors of one shape (..., 4), got {tuple(box.shape)}, {tuple(target.shape)}")
    dtype = torch.promote_types(torch.promote_types(box.dtype, target.dtype), torch.float32)
    return box.to(dtype), target.to(dtype)


def _sides(box: Tensor) -> Tensor:
    return (box[..., 2:] - box[..., :2]).clamp_min(0)


def _centers(box: Tensor) -> Tensor:
    return (box[..., :2] + box[..., 2:]) / 2


def _enclosing(box: Tensor, target: Tensor) -> Tensor:
    low = torch.minimum(box[..., :2], target[..., :2])
    high = torch.maximum(box[..., 2:], target[..., 2:])
    return torch.cat([low, high], -1)


def _intersection_and_union(box: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.maximum(box[..., :2], target[..., :2])
    high = torch.minimum(box[..., 2:], target[..., 2:])
    intersection = area(torch.cat([low, high], -1))
    return intersection, area(box) + area(target) - intersection


def _aspect_angle(box: Tensor) -> Tensor:
    """The angle whose tangent is width over height; the bound keeps the gradient of a box without sides finite."""
    width, height = _sides(box).unbind(-1)
    return torch.atan2(width, height.clamp_min(1e-6))


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, with 0 / 0 = 0 and no NaN in its gradient."""
    return part / torch.where(whole > 0, whole, 1)
