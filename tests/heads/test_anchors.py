from math import log

import pytest
import torch

from visiontasks.heads.anchors import IGNORED, NONE, decode, encode, level_anchors, match_anchors
from visiontasks.heads.detection import Objects

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [50, 50, 60, 60]])


def objects(*boxes: list[float], crowd: tuple[int, ...] = ()) -> Objects:
    is_crowd = torch.zeros(len(boxes), dtype=torch.bool)
    is_crowd[list(crowd)] = True
    return Objects(torch.tensor(boxes).view(-1, 4), torch.zeros(len(boxes), dtype=torch.int64), is_crowd)


def matched(*boxes: list[float], crowd: tuple[int, ...] = (), high: float = 0.5, low: float = 0.4) -> list[int]:
    return match_anchors(ANCHORS, objects(*boxes, crowd=crowd), high=high, low=low).tolist()


def test_anchors_lie_around_the_centres_of_cells_with_the_areas_asked_for() -> None:
    levels = [torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 1)]
    found = level_anchors(levels, [8, 16], scales=[1, 2], ratios=[1, 4])
    assert found.shape == (7 * 4, 4)
    assert found[:2].tolist() == [[0, 0, 8, 8], [2, -4, 6, 12]]  # 8 x 8, and half as wide and twice as high
    sides = found[:, 2:] - found[:, :2]
    assert sides.prod(1)[:4].tolist() == [64, 64, 256, 256]
    assert ((found[4] + found[4].roll(2)) / 2)[:2].tolist() == [12, 4]
    assert found[-4].tolist() == [0, 0, 16, 16]


def test_the_stride_is_not_taken_from_the_sizes_of_image_and_map() -> None:
    """At 300 px a map of stride 8 has 38 cells, of which the last has its centre at 300."""
    found = level_anchors([torch.zeros(1, 1, 38, 38)], [8], scales=[1], ratios=[1])
    assert found[-1].tolist() == [296, 296, 304, 304]


def test_boxes_are_coded_by_hand_and_back() -> None:
    anchor, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 20]])
    assert encode(box, anchor)[0].tolist() == pytest.approx([1, 0, log(2), 0])
    assert encode(box, anchor, (10, 10, 5, 5))[0].tolist() == pytest.approx([10, 0, 5 * log(2), 0])
    for weights in ((1.0, 1, 1, 1), (10.0, 10, 5, 5)):
        assert decode(encode(box, anchor, weights), anchor, weights) == pytest.approx(box)


def test_boxes_are_coded_in_float32_and_stay_finite() -> None:
    box = torch.tensor([[301.0, 517, 903, 1021]])
    assert decode(encode(box, box).bfloat16(), box).tolist() == box.tolist()
    assert torch.isfinite(decode(torch.full((1, 4), 1e4), box)).all()
    assert torch.isfinite(encode(torch.tensor([[3.0, 3, 3, 3]]), box)).all()


def test_an_anchor_learns_the_object_it_covers_best_and_those_between_are_ignored() -> None:
    assert matched([0, 0, 10, 10]) == [0, NONE, NONE, NONE]
    assert matched([0, 0, 10, 18]) == [0, NONE, IGNORED, NONE]  # IoU of 0.56 and 80 / 200


def test_an_object_that_no_anchor_touches_gets_the_nearest_and_no_other() -> None:
    """torchvision's Matcher would give it every anchor."""
    assert matched([70, 70, 75, 75]) == [NONE, NONE, NONE, 0]


def test_two_objects_with_the_same_best_anchor_get_one_each() -> None:
    found = matched([0, 0, 6, 6], [0, 0, 5, 6])
    assert found[0] == 0
    assert sorted(found[1:3]) == [NONE, 1]


def test_anchors_in_a_crowd_are_ignored_unless_they_learn_an_object() -> None:
    assert matched([0, 0, 30, 30], [0, 0, 10, 10], crowd=(0,)) == [1, IGNORED, IGNORED, NONE]
    assert matched([0, 0, 30, 30], crowd=(0,)) == [IGNORED, IGNORED, IGNORED, NONE]


def test_without_objects_all_is_background() -> None:
    assert matched() == [NONE] * 4
