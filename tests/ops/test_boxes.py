from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor

from visiontasks.ops.boxes import (
    area,
    ciou,
    clip,
    diou,
    giou,
    iou,
    xyxy_to_cxcywh,
)

Agreement = Callable[[Tensor, Tensor], Tensor]
ALL = pytest.mark.parametrize("agreement", [iou, giou, diou, ciou])

# 4 x 2 and 2 x 4 boxes that share a 2 x 2 corner; together they lie in a 4 x 4 square.
WIDE, TALL = (0.0, 0.0, 4.0, 2.0), (2.0, 0.0, 4.0, 4.0)
# Unit squares at distance 2 in x: the enclosing box is 3 x 1.
LEFT, RIGHT = (0.0, 0.0, 1.0, 1.0), (2.0, 0.0, 3.0, 1.0)
POINT = (1.0, 1.0, 1.0, 1.0)


def one(agreement: Agreement, box: tuple[float, ...], target: tuple[float, ...]) -> float:
    return agreement(torch.tensor([box]), torch.tensor([target])).item()


def test_formats_of_one_box() -> None:
    assert xyxy_to_cxcywh(torch.tensor([[1.0, 2, 5, 8]])).tolist() == [[3, 5, 4, 6]]


def test_area_of_a_box_a_point_and_an_inverted_box() -> None:
    boxes = torch.tensor([[1.0, 2, 5, 8], POINT, [5, 2, 1, 8], [5, 8, 1, 2]])
    assert area(boxes).tolist() == [24, 0, 0, 0]


def test_clip_cuts_to_the_image_and_takes_the_area_of_what_lies_outside() -> None:
    boxes = torch.tensor([[-3.0, 2, 12, 9], [20, 1, 30, 2]])
    assert clip(boxes, width=10, height=5).tolist() == [[0, 2, 10, 5], [10, 1, 10, 2]]
    assert clip(torch.tensor([[-0.5, 0.25, 0.5, 1.5]])).tolist() == [[0, 0.25, 0.5, 1]]


@pytest.mark.parametrize(
    ("agreement", "expected"),
    [
        (iou, 4 / 12),
        (giou, 4 / 12 - 4 / 16),
        (diou, 4 / 12 - 2 / 32),  # centres (2, 1) and (3, 2)
    ],
)
def test_overlapping_boxes(agreement: Agreement, expected: float) -> None:
    assert one(agreement, WIDE, TALL) == pytest.approx(expected)
    assert one(agreement, TALL, WIDE) == pytest.approx(expected)


@pytest.mark.parametrize(("agreement", "expected"), [(iou, 0), (giou, -1 / 3), (diou, -4 / 10), (ciou, -4 / 10)])
def test_disjoint_boxes(agreement: Agreement, expected: float) -> None:
    assert one(agreement, LEFT, RIGHT) == pytest.approx(expected)


def test_ciou_of_a_wide_and_a_square_box_of_one_centre() -> None:
    # aspect angles pi/4 and atan(2); the 2 x 2 square lies in the 4 x 2 box
    difference = (torch.pi / 4 - torch.atan(torch.tensor(2.0)).item()) ** 2 * 4 / torch.pi**2
    expected = 0.5 - difference**2 / (1 - 0.5 + difference)
    assert one(ciou, WIDE, (1.0, 0.0, 3.0, 2.0)) == pytest.approx(expected)


@ALL
def test_equal_boxes_agree_fully(agreement: Agreement) -> None:
    assert one(agreement, WIDE, WIDE) == pytest.approx(1)


@pytest.mark.parametrize(
    ("agreement", "theirs"),
    [
        (giou, torchvision.ops.generalized_box_iou_loss),
        (diou, torchvision.ops.distance_box_iou_loss),
        (ciou, torchvision.ops.complete_box_iou_loss),
    ],
)
def test_agreement_is_torchvisions(agreement: Agreement, theirs: Agreement) -> None:
    low, size = torch.rand(2, 50, 2), torch.rand(2, 50, 2) + 0.05
    box, target = torch.cat([low, low + size], -1)
    torch.testing.assert_close(1 - agreement(box, target), theirs(box, target), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("agreement", "point_in_box", "equal_points"), [(iou, 0, 0), (giou, 0, 0), (diou, -1 / 20, 0), (ciou, None, 0)]
)
def test_boxes_without_area_have_defined_values(
    agreement: Agreement, point_in_box: float | None, equal_points: float
) -> None:
    if point_in_box is not None:  # the centre (2, 1) is 1 from the point, the diagonal is 20 squared
        assert one(agreement, POINT, WIDE) == pytest.approx(point_in_box)
    assert one(agreement, POINT, POINT) == pytest.approx(equal_points)


@ALL
@pytest.mark.parametrize("box", [POINT, LEFT, WIDE, (1.0, 1.0, 1.0, 3.0), (1.0, 1.0, 3.0, 1.0), (3.0, 3.0, 1.0, 1.0)])
@pytest.mark.parametrize("target", [POINT, LEFT, WIDE])
def test_gradient_is_never_nan(agreement: Agreement, box: tuple[float, ...], target: tuple[float, ...]) -> None:
    predicted = torch.tensor([box], requires_grad=True)
    agreement(predicted, torch.tensor([target])).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


@pytest.mark.parametrize("agreement", [giou, diou, ciou])
def test_gradient_pulls_disjoint_boxes_together(agreement: Agreement) -> None:
    predicted = torch.tensor([LEFT], requires_grad=True)
    agreement(predicted, torch.tensor([RIGHT])).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad[0, 2] > 0  # more agreement with the right side further right


@ALL
def test_low_precision_boxes_are_compared_in_float32(agreement: Agreement) -> None:
    box, target = torch.tensor([WIDE]), torch.tensor([TALL])
    result = agreement(box.bfloat16(), target.bfloat16())
    assert result.dtype == torch.float32
    assert torch.equal(result, agreement(box, target))
    assert agreement(box.double(), target).dtype == torch.float64


@ALL
def test_leading_dimensions_remain(agreement: Agreement) -> None:
    box = torch.rand(3, 2, 4)
    assert agreement(box, box).shape == (3, 2)
    assert agreement(box[:0, 0], box[:0, 0]).shape == (0,)


@ALL
@pytest.mark.parametrize(("box", "target"), [((2, 4), (1, 4)), ((2, 3), (2, 3)), ((1, 2, 4), (2, 4))])
def test_unpaired_boxes_are_refused(agreement: Agreement, box: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one shape \(..., 4\)"):
        agreement(torch.zeros(box), torch.zeros(target))
