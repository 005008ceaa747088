"""Costs and assignments worked out by hand."""

import pytest
import torch
from torch import Tensor, nan

from visiontasks.ops.losses import BoxTerm, box_loss
from visiontasks.tasks.matching import each_box_loss, match_objects

L2: dict[BoxTerm, float] = {"l2": 1.0}
ALL_TERMS: dict[BoxTerm, float] = {"smooth_l1": 1.0, "l2": 2.0, "giou": 0.5, "diou": 1.0, "ciou": 1.0}


def at(*places: float) -> Tensor:
    """One image with flat boxes at these x, so that the l2 of two is half the squared distance."""
    return torch.tensor([[[x, 0.0, x, 1.0] for x in places]])


def everywhere(box: Tensor) -> Tensor:
    return torch.ones(box.shape[:2], dtype=torch.bool)


def test_the_total_is_smallest_where_the_nearest_first_would_be_dearer() -> None:
    # true 0 and 0.4, predicted 0.3 and 1: the nearest pair is 0.4 with 0.3 (0.01), which leaves 0 with 1 (1.00);
    # the smallest total is 0 with 0.3 (0.09) and 0.4 with 1 (0.36)
    box, target = at(0.3, 1.0), at(0.0, 0.4)
    assert match_objects(box, target, everywhere(target), L2).tolist() == [[0, 1]]
    assert match_objects(box.flip(1), target, everywhere(target), L2).tolist() == [[1, 0]]


def test_the_class_decides_between_equal_boxes_and_against_near_ones_by_its_weight() -> None:
    probability = torch.tensor([[[0.1, 0.9], [0.8, 0.2]]])
    label = torch.tensor([[0, 1]])
    same, apart = at(0.5, 0.5), at(0.0, 1.0)

    def match(box: Tensor, class_weight: float) -> list[list[int]]:
        found = match_objects(
            box, apart, everywhere(apart), L2, probability=probability, label=label, class_weight=class_weight
        )
        return found.tolist()

    assert match(same, 1.0) == [[1, 0]]
    # straight: boxes 0, classes -0.1 - 0.2; crossed: boxes 0.5 + 0.5, classes -0.8 - 0.9; equal at a weight of 1 / 1.4
    assert match(apart, 0.71) == [[0, 1]]
    assert match(apart, 0.72) == [[1, 0]]


def test_rows_without_an_object_get_what_is_left_over() -> None:
    box = at(0.9, 0.5, 0.1)
    target = at(nan, 0.2, 0.8)
    is_object = torch.tensor([[False, True, True]])
    label = torch.tensor([[-1, 0, 0]])
    probability = torch.full((1, 3, 2), 0.5)
    assert match_objects(box, target, is_object, L2, probability=probability, label=label).tolist() == [[1, 2, 0]]


def test_images_are_matched_apart_and_numbers_that_diverged_do_not_stop_it() -> None:
    box = torch.cat([at(0.0, 1.0), at(1.0, 0.0), at(nan, 0.0)])
    target = at(0.0, 1.0).expand(3, -1, -1)
    order = match_objects(box, target, everywhere(target), L2)
    assert order[:2].tolist() == [[0, 1], [1, 0]]
    assert sorted(order[2].tolist()) == [0, 1]


@pytest.mark.parametrize("terms", [ALL_TERMS, *({name: 1.0} for name in ALL_TERMS)], ids=str)
def test_each_box_loss_is_the_loss_of_the_box_alone(terms: dict[BoxTerm, float]) -> None:
    box, target = torch.rand(2, 2, 3, 4)
    found = each_box_loss(box, target, terms)
    assert found.shape == (2, 3)
    expected = [box_loss(box[i, j], target[i, j], terms).item() for i in range(2) for j in range(3)]
    assert found.flatten().tolist() == pytest.approx(expected)
