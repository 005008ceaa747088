from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor

from visiontasks.ops.losses import (
    BoxTerm,
    MaskTerm,
    box_loss,
    dice_loss,
    focal_loss,
    l2_loss,
    mask_cross_entropy,
    mask_loss,
    smooth_l1_loss,
)

MaskLoss = Callable[[Tensor, Tensor], Tensor]
ALL_MASK = pytest.mark.parametrize("loss", [mask_cross_entropy, focal_loss, dice_loss])

# A 1 x 4 image, two classes: probability of class 1 is 1/2, 3/4, 3/4, 1/4 ...
LOGITS = torch.tensor([[0.0, 0, 0, 0], [0, log(3), log(3), -log(3)]]).view(1, 2, 1, 4)
# ... and the truth is 0, 1, ignored, 1.
MASK = torch.tensor([[[0, 1, 255, 1]]])
NOTHING = torch.full_like(MASK, 255)


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    expected = -(log(1 / 2) + log(3 / 4) + log(1 / 4)) / 3
    assert mask_cross_entropy(LOGITS, MASK).item() == pytest.approx(expected)


def test_cross_entropy_is_averaged_by_class_weight() -> None:
    expected = -(1 * log(1 / 2) + 3 * log(3 / 4) + 3 * log(1 / 4)) / 7
    weight = torch.tensor([1.0, 3.0])
    assert mask_cross_entropy(LOGITS, MASK, class_weight=weight).item() == pytest.approx(expected)


def test_focal_loss_scales_each_pixel_by_its_error() -> None:
    expected = -(log(1 / 2) / 2**2 + log(3 / 4) / 4**2 + log(1 / 4) * (3 / 4) ** 2) / 3
    assert focal_loss(LOGITS, MASK).item() == pytest.approx(expected)


def test_focal_loss_without_focus_is_the_cross_entropy() -> None:
    weight = torch.tensor([1.0, 3.0])
    focal = focal_loss(LOGITS, MASK, gamma=0, class_weight=weight)
    torch.testing.assert_close(focal, mask_cross_entropy(LOGITS, MASK, class_weight=weight))


def test_dice_of_each_class_over_labelled_pixels() -> None:
    # class 0: probabilities 1/2, 1/4, 3/4, one true pixel; class 1: 1/2, 3/4, 1/4, two true pixels
    expected = 1 - (2 * (1 / 2) / (3 / 2 + 1) + 2 * (3 / 4 + 1 / 4) / (3 / 2 + 2)) / 2
    assert dice_loss(LOGITS, MASK).item() == pytest.approx(expected)


def test_dice_leaves_absent_classes_out() -> None:
    # only class 1 is there: probabilities 3/4 and 1/4 on its two pixels
    mask = torch.tensor([[[255, 1, 255, 1]]])
    assert dice_loss(LOGITS, mask).item() == pytest.approx(1 - 2 * 1 / (1 + 2))


def test_dice_sums_over_the_batch_before_dividing() -> None:
    logits, mask = LOGITS.view(1, 2, 2, 2), MASK.view(1, 2, 2)
    as_two_images = (
        LOGITS.view(2, 2, 2).transpose(0, 1).reshape(2, 2, 1, 2),
        MASK.view(2, 1, 2),
    )
    torch.testing.assert_close(dice_loss(logits, mask), dice_loss(*as_two_images))


@ALL_MASK
def test_perfect_prediction_has_no_loss_and_a_finite_gradient(loss: MaskLoss) -> None:
    mask = torch.tensor([[[0, 1]]])
    logits = torch.tensor([[1000.0, -1000], [-1000, 1000]]).view(1, 2, 1, 2).requires_grad_()
    value = loss(logits, mask)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_gradient_is_finite_for_every_gamma(gamma: float) -> None:
    logits = torch.tensor([[1000.0, 0, -1000], [-1000, 0, 1000]]).view(1, 2, 1, 3).requires_grad_()
    focal_loss(logits, torch.zeros(1, 1, 3, dtype=torch.int64), gamma=gamma).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@ALL_MASK
def test_ignored_pixels_have_no_influence(loss: MaskLoss) -> None:
    logits = LOGITS.clone().requires_grad_()
    loss(logits, MASK).backward()
    changed = LOGITS.clone()
    changed[..., 2] = 7
    torch.testing.assert_close(loss(changed, MASK), loss(LOGITS, MASK))
    assert logits.grad is not None
    assert (logits.grad[..., 2] == 0).all()
    assert (logits.grad[..., [0, 1, 3]] != 0).all()


@ALL_MASK
def test_all_ignored_batch_has_loss_and_gradient_zero(loss: MaskLoss) -> None:
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, NOTHING)
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss", [mask_cross_entropy, focal_loss])
def test_only_classes_of_weight_zero_give_zero(loss: Callable[..., Tensor]) -> None:
    mask = torch.tensor([[[0, 0, 255, 0]]])
    assert loss(LOGITS, mask, class_weight=torch.tensor([0.0, 1.0])).item() == 0


@ALL_MASK
def test_low_precision_logits_are_computed_in_float32(loss: MaskLoss) -> None:
    logits = LOGITS.bfloat16()
    value = loss(logits, MASK)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(logits.float(), MASK))


def test_mask_loss_is_the_weighted_sum() -> None:
    weight = torch.tensor([1.0, 3.0])
    terms: dict[MaskTerm, float] = {"cross_entropy": 1.0, "dice": 0.5, "focal": 2.0}
    expected = (
        mask_cross_entropy(LOGITS, MASK, class_weight=weight)
        + 0.5 * dice_loss(LOGITS, MASK)
        + 2 * focal_loss(LOGITS, MASK, class_weight=weight)
    )
    torch.testing.assert_close(mask_loss(LOGITS, MASK, terms, class_weight=weight), expected)


def test_smooth_l1_is_square_below_beta_and_linear_above() -> None:
    box, target = torch.tensor([[0.0, 0, 0, 0]]), torch.tensor([[0.1, -0.4, 0, 1]])
    expected = (0.1**2 / (2 * 0.2) + (0.4 - 0.1) + 0 + (1 - 0.1)) / 4
    assert smooth_l1_loss(box, target, beta=0.2).tolist() == pytest.approx([expected])


def test_l2_is_the_mean_square() -> None:
    assert l2_loss(torch.tensor([[0.0, 1, 2, 3]]), torch.tensor([[1.0, 1, 2, 1]])).tolist() == [5 / 4]


BOX = torch.tensor([[0.0, 0, 4, 2], [0, 0, 1, 1]])
TARGET = torch.tensor([[2.0, 0, 4, 4], [2, 0, 3, 1]])


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("giou", (1 - 1 / 12 + 1 + 1 / 3) / 2),  # see test_boxes.py
        ("diou", (1 - 13 / 48 + 1 + 4 / 10) / 2),
        ("l2", (8 / 4 + 8 / 4) / 2),
    ],
)
def test_box_loss_is_the_mean_over_boxes(term: BoxTerm, expected: float) -> None:
    assert box_loss(BOX, TARGET, {term: 1.0}).item() == pytest.approx(expected)


def test_box_loss_is_the_weighted_sum() -> None:
    expected = 2 * box_loss(BOX, TARGET, {"smooth_l1": 1.0}) + 0.5 * box_loss(BOX, TARGET, {"ciou": 1.0})
    torch.testing.assert_close(box_loss(BOX, TARGET, {"smooth_l1": 2.0, "ciou": 0.5}), expected)


def test_box_that_is_not_valid_has_no_influence_even_if_nan() -> None:
    box = BOX.clone().requires_grad_()
    target = TARGET.clone()
    target[1] = torch.nan
    terms: dict[BoxTerm, float] = {"smooth_l1": 1.0, "giou": 1.0}
    value = box_loss(box, target, terms, valid=torch.tensor([True, False]))
    value.backward()
    torch.testing.assert_close(value.detach(), box_loss(BOX[:1], TARGET[:1], terms))
    assert box.grad is not None
    assert (box.grad[1] == 0).all()


def test_batch_without_valid_boxes_has_loss_and_gradient_zero() -> None:
    box = BOX.clone().requires_grad_()
    value = box_loss(box, TARGET, {"smooth_l1": 1.0, "giou": 1.0}, valid=torch.tensor([False, False]))
    value.backward()
    assert value.item() == 0
    assert box.grad is not None
    assert (box.grad == 0).all()


@pytest.mark.parametrize("term", ["smooth_l1", "l2", "giou", "diou", "ciou"])
def test_low_precision_boxes_give_a_float32_loss(term: BoxTerm) -> None:
    value = box_loss(BOX.bfloat16(), TARGET, {term: 1.0})
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, box_loss(BOX, TARGET, {term: 1.0}))


def test_boxes_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got boxes \(2, 1, 4\) for targets \(2, 4\)"):
        box_loss(BOX.unsqueeze(1), TARGET, {"l2": 1.0})
