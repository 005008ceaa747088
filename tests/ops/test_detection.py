from math import log

import pytest
import torch
from torchvision.ops import nms

from visiontasks.ops.detection import cell_centres, focal_sum, matched_bce, suppress, suppress_in_graph


def test_cells_are_counted_row_by_row_from_half_a_stride() -> None:
    assert cell_centres(2, 3, 8).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_focal_loss_of_an_undecided_logit_by_hand() -> None:
    found = focal_sum(torch.zeros(1, 2), torch.tensor([[1, 0]]), weight=torch.ones(1, 1))
    assert float(found) == pytest.approx(0.25 * 0.25 * log(2) + 0.75 * 0.25 * log(2))


def test_focal_loss_leaves_out_what_has_no_weight() -> None:
    logits, target = torch.tensor([[0.0], [3.0]]), torch.tensor([[1], [0]])
    found = focal_sum(logits, target, weight=torch.tensor([[1.0], [0.0]]))
    assert float(found) == pytest.approx(0.0625 * log(2))


def test_focal_loss_is_computed_in_float32_from_bfloat16_logits() -> None:
    logits = torch.tensor([[-4.59375]])  # a probability of 0.01, which bfloat16 can hold
    exact = focal_sum(logits, torch.zeros(1, 1), weight=torch.ones(1, 1))
    assert float(focal_sum(logits.bfloat16(), torch.zeros(1, 1), weight=torch.ones(1, 1))) == float(exact)


def test_binary_cross_entropy_is_a_sum() -> None:
    assert float(matched_bce(torch.zeros(3), torch.tensor([0.0, 0.5, 1.0]))) == pytest.approx(3 * log(2))


BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])


def test_the_better_one_of_two_that_overlap_stays() -> None:
    rows = suppress(BOXES, torch.tensor([0.5, 0.6, 0.1]), torch.zeros(3, dtype=torch.long), most_iou=0.5, most=9)
    assert rows.tolist() == [1, 2]


def test_classes_do_not_suppress_each_other_also_at_negative_coordinates() -> None:
    boxes = torch.tensor([[-50.0, -50, 10, 10], [-50, -50, 10, 10], [-20, -20, 40, 40]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert suppress(boxes, scores, torch.tensor([0, 1, 2]), most_iou=0.1, most=9).tolist() == [0, 1, 2]


def test_of_equal_scores_the_earlier_row_stays_and_the_number_is_limited() -> None:
    labels = torch.zeros(3, dtype=torch.long)
    assert suppress(BOXES, torch.full((3,), 0.5), labels, most_iou=0.5, most=9).tolist() == [0, 2]
    assert suppress(BOXES, torch.full((3,), 0.5), labels, most_iou=0.5, most=1).tolist() == [0]


def test_nothing_gives_nothing() -> None:
    empty = torch.zeros(0)
    assert len(suppress(torch.zeros(0, 4), empty, empty.long(), most_iou=0.5, most=9)) == 0


def test_bfloat16_boxes_are_compared_in_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(40, 2, generator=generator) * 50
    boxes = torch.cat([low, low + 20], 1).bfloat16()
    scores = torch.rand(40, generator=generator)
    expected = nms(boxes.float(), scores, 0.4).tolist()
    assert suppress(boxes, scores, torch.zeros(40, dtype=torch.long), most_iou=0.4, most=99).tolist() == expected


def test_a_graph_suppresses_what_is_suppressed_one_by_one() -> None:
    """Many equal scores among 200 boxes of three classes, in their order."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(200, 2, generator=generator) * 40
    boxes = torch.cat([low, low + 10 + torch.rand(200, 2, generator=generator) * 20], 1)
    labels = torch.randint(3, (200,), generator=generator)
    scores = (torch.rand(200, generator=generator) * 4).round().sort(descending=True).values
    found = suppress_in_graph(boxes[None], scores[None] > 0, labels[None], most_iou=0.5)[0]
    expected = suppress(boxes, scores, labels, most_iou=0.5, most=200)
    expected = expected[scores[expected] > 0]
    assert 20 < len(expected) < 150
    assert found.nonzero().squeeze(1).tolist() == sorted(expected.tolist())


def test_a_box_without_area_neither_stays_nor_suppresses_in_a_graph() -> None:
    boxes = torch.tensor([[[5.0, 5, 5, 9], [0, 0, 9, 9], [0, 0, 9, 8]]])
    assert suppress_in_graph(boxes, torch.tensor([[True, True, True]]), most_iou=0.5).tolist() == [[False, True, False]]
    assert suppress_in_graph(boxes, torch.tensor([[True, False, True]]), most_iou=0.5).tolist() == [
        [False, False, True]
    ]
