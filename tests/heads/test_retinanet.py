from math import log

import pytest
import torch
from torch import Tensor

from tests.heads.conftest import Pyramid
from visiontasks.errors import InputError
from visiontasks.heads import RetinaNetHead
from visiontasks.heads.detection import Objects
from visiontasks.heads.retinanet import per_anchor


class Fixed(RetinaNetHead):
    """A head that gives two anchors, at the left and at the right."""

    def __init__(self, logits: Tensor, deltas: Tensor) -> None:
        super().__init__([1], [8], logits.shape[2], width=1, depth=1)
        self.raw = (logits, deltas, torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]]))

    def _raw(self, features: object) -> tuple[Tensor, Tensor, Tensor]:
        return self.raw


def objects(boxes: list[list[float]], labels: list[int], crowd: bool = False) -> Objects:
    n = len(labels)
    return Objects(torch.tensor(boxes).view(-1, 4), torch.tensor(labels, dtype=torch.int64), torch.full((n,), crowd))


def test_losses_by_hand() -> None:
    """The first anchor is an object of class 1, whose box is 1 px to the right; its delta should be 1 / 8."""
    head = Fixed(torch.zeros(1, 2, 2), torch.zeros(1, 2, 4))
    found = head.losses([], (8, 16), [objects([[1, 0, 9, 8]], [1])])
    assert float(found["classes"]) == pytest.approx((0.0625 + 3 * 0.1875) * log(2))
    assert float(found["boxes"]) == pytest.approx(1 / 8 - 1 / 18)  # above 1 / 9 it is linear


def test_a_crowd_costs_nothing_and_an_image_without_objects_has_gradients() -> None:
    head = Fixed(torch.zeros(1, 2, 1, requires_grad=True), torch.ones(1, 2, 4, requires_grad=True))
    crowd = head.losses([], (8, 16), [objects([[0, 0, 16, 8]], [0], crowd=True)])
    assert [float(loss.detach()) for loss in crowd.values()] == [0, 0]
    empty = head.losses([], (8, 16), [objects([], [])])
    sum(empty.values(), torch.zeros(())).backward()
    assert float(empty["classes"].detach()) == pytest.approx(2 * 0.1875 * log(2))
    assert all(part.grad is not None for part in head.raw[:2])


def test_values_stay_with_their_anchor() -> None:
    """(B, anchors * values, h, w): the values of an anchor lie side by side."""
    x = torch.arange(12.0).view(1, 6, 1, 2)  # 3 anchors of 2 values, 2 cells
    assert per_anchor(x, 2)[0].tolist() == [[0, 2], [4, 6], [8, 10], [1, 3], [5, 7], [9, 11]]


def test_classes_start_at_one_percent() -> None:
    head = RetinaNetHead([3], [8], 2, width=4, depth=1).eval()
    found = head([torch.zeros(1, 3, 4, 4)], (32, 32))
    assert found.boxes.shape == (1, 9 * (16 + 4 + 1 + 1), 4)
    assert torch.allclose(found.scores, torch.tensor(0.01), atol=1e-4)


def test_every_network_and_odd_size_trains_all_of_the_head(any_pyramid: Pyramid) -> None:
    head = RetinaNetHead(any_pyramid.channels, any_pyramid.reductions, 3, width=8, depth=1).train()
    for size, features in any_pyramid.features.items():
        maps = [features[i] for i in head.maps]
        truth = [objects([[3, 5, 30, 40], [0, 0, *size[::-1]]], [2, 0]), objects([], [])]
        losses = head.losses(maps, size, truth)
        assert all(torch.isfinite(loss) for loss in losses.values())
        head.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        assert [name for name, p in head.named_parameters() if p.grad is None] == []


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="depth must be at least 1, got 0"):
        RetinaNetHead([3], [8], 1, depth=0)
