from math import inf, log, sqrt

import pytest
import torch
from torch import Tensor

from tests.heads.conftest import Pyramid
from visiontasks.errors import InputError
from visiontasks.heads import FCOSHead
from visiontasks.heads.detection import Objects
from visiontasks.heads.fcos import IGNORED, NONE, Cells, Raw, centrality, owners
from visiontasks.ops.detection import cell_centres

SIZE = (64, 64)


def objects(boxes: list[list[float]], labels: list[int] | None = None, crowd: list[bool] | None = None) -> Objects:
    n = len(boxes)
    return Objects(
        torch.tensor(boxes).view(-1, 4),
        torch.tensor(labels or [0] * n, dtype=torch.int64),
        torch.tensor(crowd or [False] * n, dtype=torch.bool),
    )


def cells() -> Cells:
    """Of an image of 64 x 64: 8 x 8 cells of stride 8, 4 x 4 of stride 16; objects up to 64 px away are the first's."""
    centres = torch.cat([cell_centres(8, 8, 8), cell_centres(4, 4, 16)])
    stride = torch.tensor([8.0] * 64 + [16.0] * 16)
    first = stride == 8
    return Cells(centres, stride, torch.where(first, 0.0, 64.0), torch.where(first, 64.0, inf))


def learned(found: Tensor, row: int) -> list[tuple[float, float]]:
    return [tuple(xy) for xy in cells().centres[found == row].tolist()]


class Fixed(FCOSHead):
    """A head that gives two cells of stride 8, at (4, 4) and (12, 4)."""

    def __init__(self, raw: Raw) -> None:
        super().__init__([1], [8], raw.logits.shape[2], width=1)
        self.raw = raw

    def _raw(self, features: object) -> tuple[Raw, Cells]:
        one = torch.ones(2)
        return self.raw, Cells(torch.tensor([[4.0, 4], [12, 4]]), 8 * one, 0 * one, inf * one)


def test_centrality_by_hand() -> None:
    sides = torch.tensor([[2.0, 3, 2, 3], [1, 1, 4, 1], [1, 1, 4, 9], [0, 1, 4, 1], [-1, 1, 4, 1]])
    assert centrality(sides).tolist() == pytest.approx([1, sqrt(1 / 4), sqrt(1 / 4 / 9), 0, 0])


def test_cells_around_the_centre_learn_an_object() -> None:
    found = owners(cells(), objects([[8, 8, 40, 40]]), 1.5)  # its centre is at (24, 24)
    assert sorted(learned(found, 0)) == [(x, y) for x in (20, 28) for y in (20, 28)]
    assert (found == NONE).sum() == 80 - 4


def test_the_smaller_one_of_two_objects_gets_the_cells_of_both() -> None:
    found = owners(cells(), objects([[8, 8, 40, 40], [16, 16, 32, 32]]), 1.5)
    assert len(learned(found, 1)) == 4
    assert len(learned(found, 0)) == 1  # which would have none: the nearest free cell


def test_an_object_that_holds_no_cell_gets_the_nearest_one() -> None:
    found = owners(cells(), objects([[6, 6, 9, 10]]), 1.5)  # between the centres at 4 and 12
    assert learned(found, 0) == [(4, 4)] or learned(found, 0) == [(4, 12)]
    assert (found >= 0).sum() == 1


def test_a_large_object_belongs_to_a_coarse_level() -> None:
    found = owners(cells(), objects([[-60, -60, 120, 120]]), 1.5)  # farther than 64 px from any cell to an edge
    assert (found[:64] == NONE).all()
    assert (found[64:] == 0).sum() == 9  # within 24 px of (30, 30)


def test_cells_in_a_crowd_are_ignored_unless_they_learn_an_object() -> None:
    found = owners(cells(), objects([[0, 0, 32, 32], [8, 8, 24, 24]], crowd=[True, False]), 1.5)
    assert len(learned(found, 1)) == 4
    assert len(learned(found, 0)) == 0
    assert (found == IGNORED).sum() == 16 - 4 + 4  # of stride 8 and of stride 16


def test_losses_by_hand() -> None:
    """The first cell learns a box from (0, 0) to (8, 8), of class 1; the second one nothing."""
    raw = Raw(torch.zeros(1, 2, 2), torch.tensor([[[4.0, 4, 4, 0], [9, 9, 9, 9]]]), torch.zeros(1, 2))
    found = Fixed(raw).losses([], (8, 16), [objects([[0, 0, 8, 8]], [1])])
    assert float(found["classes"]) == pytest.approx((0.0625 + 3 * 0.1875) * log(2))
    assert float(found["boxes"]) == pytest.approx(0.5)  # half of the box, which encloses it
    assert float(found["centrality"]) == pytest.approx(log(2))


def test_the_box_loss_is_weighted_by_centrality() -> None:
    """Both cells learn a box from (0, 0) to (16, 8); cells are at a quarter and three quarters of it."""
    raw = Raw(torch.zeros(1, 2, 1), torch.tensor([[[4.0, 4, 12, 4], [12, 4, 4, 0]]]), torch.zeros(1, 2))
    found = Fixed(raw).losses([], (8, 16), [objects([[0, 0, 16, 8]])])
    assert float(found["boxes"]) == pytest.approx(0.25)  # both have sqrt(1 / 3)


def test_without_objects_the_losses_have_gradients_and_no_boxes() -> None:
    raw = Raw(
        torch.zeros(2, 2, 1, requires_grad=True),
        torch.ones(2, 2, 4, requires_grad=True),
        torch.zeros(2, 2, requires_grad=True),
    )
    found = Fixed(raw).losses([], (8, 16), [objects([]), objects([])])
    sum(found.values(), torch.zeros(())).backward()
    assert float(found["classes"].detach()) == pytest.approx(4 * 0.1875 * log(2))
    assert all(part.grad is not None for part in raw)
    assert not torch.cat([part.grad.flatten() for part in raw[1:] if part.grad is not None]).any()


def test_a_crowd_costs_nothing() -> None:
    raw = Raw(torch.zeros(1, 2, 1), torch.ones(1, 2, 4), torch.zeros(1, 2))
    found = Fixed(raw).losses([], (8, 16), [objects([[0, 0, 16, 8]], crowd=[True])])
    assert [float(loss) for loss in found.values()] == [0, 0, 0]


def test_candidates_are_boxes_in_pixels_with_the_mean_of_class_and_centrality() -> None:
    raw = Raw(torch.tensor([[[0.0], [-log(3)]]]), torch.tensor([[[1.0, 2, 3, 4], [0, 0, 0, 0]]]), torch.zeros(1, 2))
    found = Fixed(raw)([], (8, 16))
    assert found.boxes[0].tolist() == [[3, 2, 7, 8], [12, 4, 12, 4]]
    assert found.scores[0].flatten().tolist() == pytest.approx([0.5, sqrt(0.25 * 0.5)])


def test_selected_boxes_are_cut_to_the_image_and_those_without_area_left_out() -> None:
    sides = torch.tensor([[[9.0, 2, 3, 9], [0, 0, 0, 0]]])
    head = Fixed(Raw(torch.zeros(1, 2, 1), sides, torch.zeros(1, 2)))
    (found,) = head.select(head([], (8, 16)), (8, 16), least_score=0.1, most=9)
    assert found.boxes.tolist() == [[0, 2, 7, 8]]
    assert (found.scores.tolist(), found.labels.tolist()) == ([0.5], [0])


def test_a_network_that_gives_nan_detects_nothing() -> None:
    head = Fixed(Raw(torch.full((1, 2, 1), torch.nan), torch.ones(1, 2, 4), torch.zeros(1, 2)))
    assert len(head.select(head([], (8, 16)), (8, 16), least_score=0.1, most=9)[0].scores) == 0


def test_every_network_and_odd_size_trains_all_of_the_head(any_pyramid: Pyramid) -> None:
    head = FCOSHead(any_pyramid.channels, any_pyramid.reductions, 3, width=8).train()
    for size, features in any_pyramid.features.items():
        maps = [features[i] for i in head.maps]
        truth = [objects([[3, 5, 30, 40], [0, 0, *size[::-1]]], [2, 0]), objects([])]
        losses = head.losses(maps, size, truth)
        assert all(torch.isfinite(loss) for loss in losses.values())
        head.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        assert [name for name, p in head.named_parameters() if p.grad is None] == []
        candidates = head.eval()(maps, size)
        assert candidates.boxes.shape[:2] == candidates.scores.shape[:2]
        head.train()


def test_classes_start_at_one_percent() -> None:
    head = FCOSHead([3], [8], 2, width=4).eval()
    scores = head([torch.zeros(1, 3, 4, 4)], (32, 32)).scores
    assert torch.allclose(scores, torch.tensor(sqrt(0.01 * 0.5)), atol=1e-3)


def test_boxes_are_float32_and_exact_under_bfloat16() -> None:
    head = FCOSHead([3], [8], 1, width=4).eval()
    x = torch.zeros(1, 3, 6, 6)
    plain = head([x], (48, 48)).boxes
    with torch.autocast("cpu", torch.bfloat16):
        boxes = head([x], (48, 48)).boxes
    assert boxes.dtype == torch.float32
    assert torch.allclose(boxes, plain, atol=1e-3)
    assert head.to(torch.bfloat16)([x.bfloat16()], (48, 48)).boxes.dtype == torch.float32


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="width must be at least 1, got 0"):
        FCOSHead([3], [8], 1, width=0)
    with pytest.raises(InputError, match="centre_radius must be above 0, got -1"):
        FCOSHead([3], [8], 1, centre_radius=-1)
