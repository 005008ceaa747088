import pytest
import torch
from torch import nn

from visiontasks.errors import InputError
from visiontasks.heads import BoxHead
from visiontasks.ops.boxes import iou
from visiontasks.ops.losses import box_loss


@pytest.mark.parametrize("num_boxes", [1, 7])
def test_every_box_starts_as_the_middle_half_of_the_image(num_boxes: int) -> None:
    boxes = BoxHead(5, num_boxes)(torch.randn(3, 5))
    expected = torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(3, num_boxes, 4)
    torch.testing.assert_close(boxes, expected)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_boxes_are_in_order_and_inside_the_image_whatever_the_weights(scale: float) -> None:
    head = BoxHead(5, 4)
    nn.init.normal_(head.coordinates.classifier.linear.weight, std=scale)
    x1, y1, x2, y2 = head(torch.randn(200, 5)).unbind(-1)
    assert (x1 <= x2).all()
    assert (y1 <= y2).all()
    assert min(x1.min(), y1.min()) >= 0
    assert max(x2.max(), y2.max()) <= 1


def test_crossed_outputs_are_sorted() -> None:
    head = BoxHead(1)
    # sigmoids 3/4, 1/2, 1/4, 1/2: x is crossed, y has no height
    outputs = torch.tensor([3.0, 1, 1 / 3, 1]).log() - head.offset
    head.coordinates.classifier.linear.bias.data.copy_(outputs)
    torch.testing.assert_close(head(torch.zeros(1, 1)), torch.tensor([[[0.25, 0.5, 0.75, 0.5]]]))


@pytest.mark.parametrize(("hidden_features", "lr"), [((), 0.03), ((32,), 0.01)])
def test_boxes_of_eight_images_are_learned(hidden_features: tuple[int, ...], lr: float) -> None:
    feature, corners = torch.randn(8, 32), torch.rand(2, 8, 2)
    target = torch.cat([corners.amin(0), corners.amax(0)], -1)
    head = BoxHead(32, hidden_features=hidden_features)
    optimizer = torch.optim.Adam(head.parameters(), lr=lr)
    for _ in range(150):
        optimizer.zero_grad()
        box_loss(head(feature)[:, 0], target, {"smooth_l1": 1.0}).backward()
        optimizer.step()
    assert iou(head(feature)[:, 0], target).mean() > 0.9


def test_gradients_reach_every_parameter_after_one_step() -> None:
    head = BoxHead(6, 2, hidden_features=(8,))
    feature, target = torch.randn(5, 6), torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(5, 2, 4)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (head(feature) - target).square().sum().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


def test_boxes_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert BoxHead(5)(torch.randn(2, 5)).dtype == torch.float32


def test_head_without_boxes_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 box, got num_boxes=0"):
        BoxHead(5, 0)


def test_offset_is_not_in_the_weight_file() -> None:
    assert all("offset" not in name for name in BoxHead(5).state_dict())
