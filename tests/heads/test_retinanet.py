from math import log

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import RetinaNet
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.retinanet import RetinaNetHead as TorchvisionHead
from torchvision.ops import box_iou

from tests.heads.conftest import Pyramid
from visiontasks.errors import InputError
from visiontasks.heads import RetinaNetHead
from visiontasks.heads.anchors import level_anchors
from visiontasks.heads.detection import Objects
from visiontasks.heads.retinanet import RATIOS, SCALES, per_anchor


class Fixed(RetinaNetHead):
    """A head that gives two anchors, at the left and at the right."""

    def __init__(self, logits: Tensor, deltas: Tensor) -> None:
        super().__init__([1], [8], logits.shape[2], width=1, depth=1)
        self.raw = (logits, deltas, torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]]))

    def _raw(self, features: object) -> tuple[Tensor, Tensor, Tensor]:
        return self.raw


def objects(boxes: list[list[float]], labels: list[int], crowd: bool = False) -> Objects:
    n = len(labels)
    return Objects(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.full((n,), crowd),
    )


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


def theirs(head: RetinaNetHead) -> TorchvisionHead:
    """torchvision's head with the same weights."""
    found = TorchvisionHead(8, 9, 2)
    pairs = [(found.classification_head, head.class_tower, head.classes, "cls_logits")]
    pairs += [(found.regression_head, head.box_tower, head.boxes, "bbox_reg")]
    for part, tower, last, name in pairs:
        for ours, layer in zip(tower[::2], part.conv, strict=True):
            layer[0].load_state_dict(ours.state_dict())
        getattr(part, name).load_state_dict(last.state_dict())
    return found


def scattered() -> tuple[RetinaNetHead, list[Tensor]]:
    """A head whose scores and boxes differ from place to place, and maps of two images of 96 x 112 px."""
    torch.manual_seed(0)
    head = RetinaNetHead([3], [8], 2, width=8, depth=4).eval()
    for layer in [*head.class_tower[::2], *head.box_tower[::2]]:
        torch.nn.init.normal_(layer.weight, std=0.2)
    torch.nn.init.normal_(head.classes.weight, std=1.0)
    torch.nn.init.constant_(head.classes.bias, -2.0)
    return head, [torch.rand(2, 3, 12, 14)]


def test_the_losses_are_those_of_torchvision_but_for_beta_and_the_count() -> None:
    """Smooth L1 with a beta of 1 / 9, as published, is L1 less 1 / 18 in each of four numbers that are far off; and
    a batch is divided by all its anchors with an object, where torchvision takes the mean over the images."""
    head, maps = scattered()
    torch.nn.init.constant_(head.boxes.bias, 3.0)
    truth = [objects([[5, 4, 37, 36], [40, 22, 104, 86]], [0, 1]), objects([[40, 24, 104, 88]], [1])]
    targets = [{"boxes": each.boxes, "labels": each.labels} for each in truth]
    levels = head.pyramid(maps)
    anchors = level_anchors(levels, head.pyramid.strides, scales=SCALES, ratios=RATIOS)
    matched = [Matcher(0.5, 0.4, allow_low_quality_matches=True)(box_iou(each.boxes, anchors)) for each in truth]
    expected, counts = [], []
    for i in range(2):
        outputs = theirs(head)([level[i : i + 1] for level in levels])
        losses = theirs(head).compute_loss(targets[i : i + 1], outputs, [anchors], matched[i : i + 1])
        expected.append([losses["classification"].item(), losses["bbox_regression"].item() - 4 / 18])
        counts.append(int((matched[i] >= 0).sum()))
    assert counts[0] > counts[1] > 0
    found = head.losses(maps, (96, 112), truth)
    for name, values in zip(("classes", "boxes"), zip(*expected, strict=True), strict=True):
        mean = sum(value * n for value, n in zip(values, counts, strict=True)) / sum(counts)
        assert float(found[name].detach()) == pytest.approx(mean, rel=1e-4)


def test_the_detections_are_those_of_torchvision() -> None:
    head, maps = scattered()
    body = torch.nn.Identity()
    body.out_channels = 8
    model = RetinaNet(body, 2, head=theirs(head), score_thresh=0.1, nms_thresh=0.5, detections_per_img=100)
    with torch.no_grad():
        levels, strides = head.pyramid(maps), head.pyramid.strides
        parts = [
            level_anchors([level], [stride], scales=SCALES, ratios=RATIOS)
            for level, stride in zip(levels, strides, strict=True)
        ]
        outputs = {name: value.split([len(each) for each in parts], 1) for name, value in model.head(levels).items()}
        expected = model.postprocess_detections(outputs, [parts, parts], [(96, 112)] * 2)
        found = head.select(head(maps, (96, 112)), (96, 112), least_score=0.1, most=100)
    assert sum(len(each["scores"]) for each in expected) >= 10
    for ours, other in zip(found, expected, strict=True):
        assert torch.allclose(ours.scores, other["scores"], atol=1e-5)
        assert torch.equal(ours.labels, other["labels"])
        assert torch.allclose(ours.boxes, other["boxes"], atol=1e-2)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="depth must be at least 1, got 0"):
        RetinaNetHead([3], [8], 1, depth=0)
