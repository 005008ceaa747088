from math import log

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import roi_align

from tests.heads.conftest import Pyramid
from visiontasks.errors import InputError
from visiontasks.heads import FasterRCNNHead
from visiontasks.heads.anchors import level_anchors
from visiontasks.heads.detection import Candidates, Objects
from visiontasks.heads.fasterrcnn import RATIOS, SCALES, pooled, pooled_in_graph

Losses = dict[str, Tensor]
SIZE = (96, 112)

BOXES = torch.tensor([[0.0, 0, 60, 60], [10, 20, 200, 260], [3, 3, 9, 9]])


def small(**options: int) -> FasterRCNNHead:
    torch.manual_seed(0)
    return FasterRCNNHead([3], [8], 2, **{"width": 4, "hidden_features": 8, "proposals": 20, **options})


def objects(boxes: list[list[float]], labels: list[int], crowd: bool = False) -> Objects:
    n = len(labels)
    return Objects(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.full((n,), crowd),
    )


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


def test_a_graph_pools_what_roi_align_does_also_where_a_map_ends_before_the_image() -> None:
    levels = [torch.rand(2, 3, 9, 12), torch.rand(2, 3, 5, 6)]  # of 72 x 96 px
    boxes = torch.tensor(
        [[[0.0, 0, 10, 7], [0, 0, 200, 200], [60, 50, 110, 80]], [[3, 4, 5, 9], [0, 0, 96, 72], [0] * 4]]
    )
    expected = pooled(levels, [8, 16], [*boxes])
    assert torch.allclose(pooled_in_graph(levels, [8, 16], boxes), expected, atol=1e-5)


@pytest.mark.parametrize(
    "proposals",
    [
        20,  # fewer than there are
        1500,  # more; five of them have a logit of exactly 0
    ],
)
def test_a_graph_has_the_candidates_of_each_image(proposals: int) -> None:
    head, maps = scattered(proposals)
    with torch.no_grad():
        eager, graph = head(maps, SIZE), head.forward_in_graph(maps, SIZE)
    count = eager.scores.shape[1]
    assert count == 20 if proposals == 20 else 100 < count < 1500
    assert graph.scores.shape == (3, proposals, 2)
    assert torch.allclose(graph.boxes[:, :count], eager.boxes, rtol=0, atol=1e-3)
    assert torch.allclose(graph.scores[:, :count], eager.scores, atol=1e-5)
    assert not graph.scores[:, count:].any()


class Theirs:
    """torchvision's two stages with the layers, anchors and pooling of a head of ours."""

    def __init__(self, head: FasterRCNNHead) -> None:
        count = {"training": 1000, "testing": 1000}, {"training": head.proposals, "testing": head.proposals}
        self.first = RegionProposalNetwork(Anchors(head), FirstStage(head), 0.7, 0.3, 256, 0.5, *count, 0.7)
        hidden = nn.Sequential(nn.Flatten(), head.hidden)
        numbers = (0.5, 0.5, 128, 0.25, None, 0.1, 0.5, 100)
        self.second = RoIHeads(Pooling(head), hidden, Background(head), *numbers)

    def __call__(self, levels: list[Tensor], truth: list[Objects] | None) -> tuple[list[dict[str, Tensor]], Losses]:
        for stage in (self.first, self.second):
            stage.train(truth is not None)
        images, features = ImageList(torch.zeros(len(levels[0]), 3, *SIZE), [SIZE] * len(levels[0])), by_name(levels)
        targets = truth and [{"boxes": each.boxes, "labels": each.labels + 1} for each in truth]
        regions, of_anchors = self.first(images, features, targets)
        found, of_regions = self.second(features, regions, images.image_sizes, targets)
        return found, of_anchors | of_regions


class Anchors(nn.Module):
    def __init__(self, head: FasterRCNNHead) -> None:
        super().__init__()
        self.strides = head.pyramid.strides

    def forward(self, images: ImageList, features: list[Tensor]) -> list[Tensor]:
        return [level_anchors(features, self.strides, scales=SCALES, ratios=RATIOS)] * len(images.image_sizes)


class FirstStage(nn.Module):
    def __init__(self, head: FasterRCNNHead) -> None:
        super().__init__()
        self.spatial, self.logits, self.boxes = head.spatial, head.objectness, head.deltas

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden = [self.spatial(level).relu() for level in levels]
        return [self.logits(each) for each in hidden], [self.boxes(each) for each in hidden]


class Pooling(nn.Module):
    def __init__(self, head: FasterRCNNHead) -> None:
        super().__init__()
        self.strides = head.pyramid.strides

    def forward(self, features: dict[str, Tensor], regions: list[Tensor], sizes: object) -> Tensor:
        return pooled([*features.values()], self.strides, regions)


class Background(nn.Module):
    """The background comes first there, and has a box too."""

    def __init__(self, head: FasterRCNNHead) -> None:
        super().__init__()
        self.classes, self.boxes = head.classes, head.boxes

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return self.classes(hidden).roll(1, 1), nn.functional.pad(self.boxes(hidden), (4, 0))


def by_name(levels: list[Tensor]) -> dict[str, Tensor]:
    return {str(i): level for i, level in enumerate(levels)}


def scattered(proposals: int = 50) -> tuple[FasterRCNNHead, list[Tensor]]:
    """A head whose scores and boxes differ from place to place, and maps of three images."""
    head = small(proposals=proposals).eval()
    for layer, std in ((head.objectness, 2.0), (head.deltas, 0.5), (head.classes, 3.0), (head.boxes, 2.0)):
        nn.init.normal_(layer.weight, std=std)
    nn.init.normal_(head.spatial.weight, std=0.3)
    return head, [torch.rand(3, 3, SIZE[0] // 8, SIZE[1] // 8)]


def test_the_four_losses_are_those_of_torchvision() -> None:
    """Each object has an anchor with an IoU of 0.7, else torchvision takes all best ones, ours takes one."""
    head, maps = scattered()
    truth = [objects([[5, 4, 37, 36], [40, 22, 104, 86]], [0, 1]), objects([], []), objects([[40, 24, 104, 88]], [1])]
    torch.manual_seed(1)
    _, expected = Theirs(head)(head.pyramid(maps), truth)
    torch.manual_seed(1)
    found = head.losses(maps, SIZE, truth)
    names = {"objectness": "objectness", "proposals": "rpn_box_reg", "classes": "classifier", "boxes": "box_reg"}
    for ours, theirs in names.items():
        assert float(expected[f"loss_{theirs}"].detach()) > 1e-4
        assert float(found[ours].detach()) == pytest.approx(float(expected[f"loss_{theirs}"].detach()), rel=1e-4)


def test_the_detections_are_those_of_torchvision() -> None:
    head, maps = scattered()
    with torch.no_grad():
        expected, _ = Theirs(head)(head.pyramid(maps), None)
        found = head.select(head(maps, SIZE), SIZE, least_score=0.1, most=100)
    assert sum(len(each["scores"]) for each in expected) >= 10
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours.scores, theirs["scores"], atol=1e-5)
        assert torch.equal(ours.labels + 1, theirs["labels"])
        assert torch.allclose(ours.boxes, theirs["boxes"], atol=1e-2)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="proposals must be at least 1, got 0"):
        small(proposals=0)
