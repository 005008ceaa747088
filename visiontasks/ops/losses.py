"""Losses of masks, boxes and several labels, each term and their weighted sums.

All are computed in float32 at least, also for bfloat16 logits. A batch without anything to learn from (every pixel
ignored, no box valid) has the loss 0 with a zero gradient, not NaN, so that one such batch does not end a training.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from visiontasks.ops.boxes import ciou, diou, giou

MaskTerm = Literal["cross_entropy", "dice", "focal"]
BoxTerm = Literal["smooth_l1", "l2", "giou", "diou", "ciou"]

IGNORED = 255  # the class index of pixels that nobody labelled


def mask_loss(
    logits: Tensor, mask: Tensor, terms: Mapping[MaskTerm, float], *, class_weight: Tensor | None = None
) -> Tensor:
    """Weighted sum of mask losses.

    Args:
        logits: (B, K, H, W).
        mask: Class indices 0..K-1 or 255 for ignored, int64 (B, H, W).
        terms: The factor of each loss, for instance {"cross_entropy": 1.0, "dice": 0.5}.
        class_weight: Weight of each class in cross entropy and focal loss, (K,). Dice weighs classes alike.

    Returns:
        A scalar.
    """
    losses: dict[MaskTerm, Callable[[], Tensor]] = {
        "cross_entropy": lambda: mask_cross_entropy(logits, mask, class_weight=class_weight),
        "dice": lambda: dice_loss(logits, mask),
        "focal": lambda: focal_loss(logits, mask, class_weight=class_weight),
    }
    return torch.stack([factor * losses[name]() for name, factor in terms.items()]).sum()


def mask_cross_entropy(logits: Tensor, mask: Tensor, *, class_weight: Tensor | None = None) -> Tensor:
    """Cross entropy, averaged over the labelled pixels by the weight of their class.

    Args:
        logits: See mask_loss.
        mask: See mask_loss.
        class_weight: See mask_loss.

    Returns:
        A scalar; 0 if no labelled pixel has a weight above 0.
    """
    losses = F.cross_entropy(_at_least_float32(logits), mask, ignore_index=IGNORED, reduction="none")
    return _mean_over_pixels(losses, mask, class_weight)


def label_losses(
    logits: Tensor,
    truth: Tensor,
    *,
    positive_weight: Tensor | None = None,
    gamma_negative: float = 0.0,
    gamma_positive: float = 0.0,
    margin: float = 0.0,
) -> Tensor:
    """Binary cross entropy of each label, asymmetric where asked for.

    Ridnik et al., "Asymmetric Loss For Multi-Label Classification", 2021: the many labels that an image has not are
    scaled by p ** gamma_negative, p being the probability less the margin (0 below it), and those that it has by
    (1 - p) ** gamma_positive. Deviation: gradients go through these factors, as in the paper; its authors' code stops
    them there.

    Args:
        logits: (B, K).
        truth: 1 or 0, NaN where unknown, (B, K).
        positive_weight: Weight of the labels that images have, of each class, (K,).
        gamma_negative: 0 or more; 0 for plain cross entropy.
        gamma_positive: 0 or more; 0 for plain cross entropy.
        margin: In [0, 1): probability up to which a label that the image has not costs nothing.

    Returns:
        (B, K), float32; 0 where unknown.
    """
    logits, known = _at_least_float32(logits), ~truth.isnan()
    truth = truth.nan_to_num(0.0).to(logits.dtype)
    positive = -F.logsigmoid(logits)
    negative = -F.logsigmoid(-logits)
    if margin:
        negative = -(1 - (logits.sigmoid() - margin).clamp_min(0)).clamp_min(torch.finfo(logits.dtype).tiny).log()
    if gamma_positive:
        positive = positive * (-logits).sigmoid() ** gamma_positive
    if gamma_negative:
        negative = negative * (logits.sigmoid() - margin).clamp_min(0) ** gamma_negative
    if positive_weight is not None:
        positive = positive * positive_weight
    losses: Tensor = torch.where(truth > 0.5, positive, negative).where(known, 0.0)
    return losses


def focal_loss(logits: Tensor, mask: Tensor, *, gamma: float = 2.0, class_weight: Tensor | None = None) -> Tensor:
    """Cross entropy with each pixel scaled by (1 - p) ** gamma, p the probability of its true class.

    Focal Loss for Dense Object Detection. Tsung-Yi Lin et al., 2017. https://arxiv.org/abs/1708.02002
    Deviations: a softmax over K classes instead of a sigmoid each, and the mean over the labelled pixels instead of the
    sum divided by the number of objects.

    Args:
        logits: See mask_loss.
        mask: See mask_loss.
        gamma: 0 gives the cross entropy.
        class_weight: See mask_loss; the paper's alpha.

    Returns:
        A scalar; 0 if no labelled pixel has a weight above 0.
    """
    losses = F.cross_entropy(_at_least_float32(logits), mask, ignore_index=IGNORED, reduction="none")
    # the bound: below gamma = 1 the slope of x ** gamma is infinite at 0
    error = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny ** 0.5)
    return _mean_over_pixels(error**gamma * losses, mask, class_weight)


def dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """1 - the soft Dice coefficient 2 |P T| / (|P| + |T|), averaged over the classes that the batch's masks hold.

    V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation. Fausto Milletari, Nassir
    Navab, Seyed-Ahmad Ahmadi, 2016. https://arxiv.org/abs/1606.04797
    Deviations: several classes; probabilities are not squared in the denominator; sums run over the whole batch. A
    class that no labelled pixel has is left out, since its coefficient would be 0 however little of it is predicted.

    Args:
        logits: See mask_loss.
        mask: See mask_loss.

    Returns:
        A scalar in [0, 1]; 0 if every pixel is ignored.
    """
    labelled = mask != IGNORED
    probability = _at_least_float32(logits).softmax(1) * labelled.unsqueeze(1)
    classes = mask.where(labelled, 0).unsqueeze(1)
    truth = torch.zeros_like(probability).scatter(1, classes, labelled.unsqueeze(1).to(probability.dtype))
    count = truth.sum((0, 2, 3))
    present = count > 0
    total = (probability.sum((0, 2, 3)) + count).where(present, 1)
    dice = 2 * (probability * truth).sum((0, 2, 3)) / total
    return ((1 - dice) * present).sum() / present.sum().clamp_min(1)


def box_loss(box: Tensor, target: Tensor, terms: Mapping[BoxTerm, float], *, valid: Tensor | None = None) -> Tensor:
    """Weighted sum of box losses, averaged over the valid boxes.

    Args:
        box: Predicted boxes, xyxy, (..., 4).
        target: True boxes, of the same shape; where not valid they may be anything, also NaN.
        terms: The factor of each loss, for instance {"smooth_l1": 1.0, "giou": 1.0}.
        valid: Which boxes count, bool (...,); all if None.

    Returns:
        A scalar; 0 if no box is valid.

    Raises:
        ValueError: If the shapes differ.
    """
    if box.shape != target.shape:
        raise ValueError(f"got boxes {tuple(box.shape)} for targets {tuple(target.shape)}, expected equal shapes")
    if valid is None:
        valid = torch.ones(box.shape[:-1], dtype=torch.bool, device=box.device)
    # as many as before and not box[valid], for whose number a GPU would be waited for; [0, 0, 1, 1] has finite losses
    unit = torch.arange(4, device=box.device).ge(2).to(box.dtype)
    box, target = (boxes.where(valid.unsqueeze(-1), unit) for boxes in (box, target))
    losses: dict[BoxTerm, Callable[[Tensor, Tensor], Tensor]] = {
        "smooth_l1": smooth_l1_loss,
        "l2": l2_loss,
        "giou": lambda box, target: 1 - giou(box, target),
        "diou": lambda box, target: 1 - diou(box, target),
        "ciou": lambda box, target: 1 - ciou(box, target),
    }
    each = torch.stack([factor * losses[name](box, target) for name, factor in terms.items()]).sum(0)
    return each.where(valid, 0).sum() / valid.sum().clamp_min(1)


def smooth_l1_loss(box: Tensor, target: Tensor, *, beta: float = 1 / 9) -> Tensor:
    """Mean over the four coordinates of the error, squared below beta.

    Fast R-CNN. Ross Girshick, 2015. https://arxiv.org/abs/1504.08083. It has beta = 1 for targets of unit variance; 1/9
    is that of Faster R-CNN's released code, and of the order of the errors of boxes in 0..1.

    Args:
        box: (..., 4).
        target: (..., 4).
        beta: Where the square ends, above 0, in the boxes' unit.

    Returns:
        The loss of each box, (...,).
    """
    return F.smooth_l1_loss(_at_least_float32(box), _at_least_float32(target), beta=beta, reduction="none").mean(-1)


def l2_loss(box: Tensor, target: Tensor) -> Tensor:
    """Mean over the four coordinates (..., 4) of the squared error, (...,)."""
    return (_at_least_float32(box) - _at_least_float32(target)).square().mean(-1)


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _mean_over_pixels(losses: Tensor, mask: Tensor, class_weight: Tensor | None) -> Tensor:
    """Mean of losses (B, H, W) over the labelled pixels of a mask (B, H, W), weighted by class."""
    labelled = mask != IGNORED
    if class_weight is None:
        weight = labelled.to(losses.dtype)
    else:
        weight = class_weight.to(losses)[mask.where(labelled, 0)] * labelled
    total = weight.sum()
    return (weight * losses).sum() / total.where(total > 0, 1)
