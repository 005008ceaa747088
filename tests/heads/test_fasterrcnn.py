from math import log

import pytest
import torch
from torchvision.ops import roi_align

from tests.heads.conftest import Pyramid
from visiontasks.errors import InputError
from visiontasks.heads import FasterRCNNHead
from visiontasks.heads.detection import Candidates, Objects
from visiontasks.heads.fasterrcnn import pooled

BOXES = torch.tensor([[0.0, 0, 60, 60], [10, 20, 200, 260], [3, 3, 9, 9]])


def small(**options: int) -> FasterRCNNHead:
    torch.manual_seed(0)
    return FasterRCNNHead([3], [8], 2, **{"width": 4, "hidden_features": 8, "proposals": 20, **options})


def objects(boxes: list[list[float]], labels: list[int], crowd: bool = False) -> Objects:
    n = len(labels)
    return Objects(torch.tensor(boxes).view(-1, 4), torch.tensor(labels, dtype=torch.int64), torch.full((n,), crowd))


def test_a_region_is_pooled_from_the_level_on_which_it_has_about_14_cells() -> None:
    levels = [torch.rand(1, 2, 40, 40), torch.rand(1, 2, 20, 20)]
    found = pooled(levels, [8, 16], [BOXES])
    for row, (level, stride) in ((0, (levels[0], 8)), (1, (levels[1], 16)), (2, (levels[0], 8))):
        rois = torch.cat([torch.zeros(1, 1), BOXES[row : row + 1]], 1)
        expected = roi_align(level, rois, 7, 1 / stride, sampling_ratio=2, aligned=True)
        assert torch.equal(found[row : row + 1], expected)


def test_strides_with_a_gap_are_pooled_right() -> None:
    """torchvision's MultiScaleRoIAlign numbers levels by powers of two, and pools such regions from another one."""
    levels = [torch.zeros(1, 1, 80, 80), torch.ones(1, 1, 10, 10)]  # of strides 4 and 32, at 320 px
    assert torch.allclose(pooled(levels, [4, 32], [torch.tensor([[0.0, 0, 310, 310]])]), torch.ones(1, 1, 7, 7))


def test_regions_keep_the_order_of_the_images() -> None:
    level = torch.stack([torch.zeros(1, 10, 10), torch.ones(1, 10, 10)])
    found = pooled([level], [8], [BOXES[:1], BOXES[:2]])
    assert found.mean((1, 2, 3)).tolist()[:2] == [0, 1]


def test_an_image_without_objects_costs_what_background_does() -> None:
    head = small().train()
    torch.nn.init.zeros_(head.classes.weight)
    torch.nn.init.zeros_(head.classes.bias)
    found = head.losses([torch.rand(1, 3, 8, 8)], (64, 64), [objects([], [])])
    assert float(found["classes"].detach()) == pytest.approx(log(3))  # two classes and the background
    assert float(found["boxes"].detach()) == 0
    assert float(found["proposals"].detach()) == 0
    assert float(found["objectness"].detach()) == pytest.approx(log(2), abs=0.01)


def test_a_crowd_is_no_object() -> None:
    head = small().train()
    found = head.losses([torch.rand(1, 3, 8, 8)], (64, 64), [objects([[0, 0, 64, 64]], [0], crowd=True)])
    assert float(found["boxes"].detach()) == 0
    assert all(torch.isfinite(loss) for loss in found.values())


def test_images_with_fewer_proposals_have_none_behind_them() -> None:
    head = small().eval()
    candidates = head([torch.rand(2, 3, 5, 3)], (40, 24))
    assert candidates.boxes.shape == (*candidates.scores.shape, 4)
    padded = Candidates(torch.zeros(1, 3, 2, 4), torch.zeros(1, 3, 2))
    assert len(head.select(padded, (40, 24), least_score=0.0, most=9)[0].scores) == 0


def test_each_class_has_its_own_box() -> None:
    head = small().eval()
    boxes = torch.tensor([[[[0.0, 0, 4, 4], [10, 10, 20, 20]]]])
    (found,) = head.select(Candidates(boxes, torch.tensor([[[0.3, 0.6]]])), (40, 24), least_score=0.1, most=9)
    assert found.labels.tolist() == [1, 0]
    assert found.boxes.tolist() == [[10, 10, 20, 20], [0, 0, 4, 4]]


def test_every_network_and_odd_size_trains_all_of_the_head(any_pyramid: Pyramid) -> None:
    head = FasterRCNNHead(any_pyramid.channels, any_pyramid.reductions, 3, width=8, hidden_features=8).train()
    for size, features in any_pyramid.features.items():
        maps = [features[i] for i in head.maps]
        truth = [objects([[3, 5, 30, 40], [0, 0, *size[::-1]]], [2, 0]), objects([], [])]
        losses = head.losses(maps, size, truth)
        assert all(torch.isfinite(loss) for loss in losses.values())
        head.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        assert [name for name, p in head.named_parameters() if p.grad is None] == []


def test_it_has_no_graph() -> None:
    head = small().eval()
    candidates = head([torch.rand(1, 3, 5, 3)], (40, 24))
    with pytest.raises(InputError, match="FasterRCNNHead has no graph"):
        head.select_in_graph(candidates, (40, 24), most=5)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="proposals must be at least 1, got 0"):
        small(proposals=0)
