from typing import Any

import pytest
import torch

from visiontasks import heads
from visiontasks.heads import DetectionHead
from visiontasks.heads.detection import Candidates, Objects, ranked_in_graph

SIZE = (100, 100)
KINDS: list[Any] = [getattr(heads, name) for name in heads.__all__]
HEADS = [kind for kind in KINDS if issubclass(kind, DetectionHead) and kind is not DetectionHead]


def head() -> DetectionHead:
    return DetectionHead()


def test_of_equal_scores_the_earlier_comes_first_and_neighbours_stay_apart() -> None:
    near = torch.tensor([0.5]).nextafter(torch.tensor([1.0]))
    scores = torch.full((1, 2**19), 0.5)
    scores[0, -1] = near
    found, place = ranked_in_graph(scores, 4)
    assert place.tolist() == [[2**19 - 1, 0, 1, 2]]
    assert found.tolist() == [[float(near), 0.5, 0.5, 0.5]]
    assert ranked_in_graph(torch.tensor([[-3.0, -1, -3, -1]]), 4)[1].tolist() == [[1, 3, 0, 2]]


def test_a_graph_selects_the_same_also_among_equal_scores() -> None:
    """Of 400 candidates in two classes most scores are equal, and most boxes overlap."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 400, 2, generator=generator) * 80 - 10
    boxes = torch.cat([low, low + 15 + torch.rand(2, 400, 2, generator=generator) * 20], 2)
    scores = (torch.rand(2, 400, 2, generator=generator) * 5).floor() / 5
    for own in (boxes, torch.stack([boxes, boxes.flip(1)], 2)):  # a box of the anchor, and one of each class
        candidates = Candidates(own, scores)
        expected = head().select(candidates, SIZE, least_score=0.5, most=30)
        graph = head().select_in_graph(Candidates(own, scores.where(scores >= 0.5, 0)), SIZE, most=30)
        for image, each in enumerate(expected):
            count = len(each.scores)
            assert 10 < count <= 30
            assert torch.equal(graph.boxes[image, :count], each.boxes)
            assert torch.equal(graph.scores[image, :count], each.scores)
            assert torch.equal(graph.labels[image, :count], each.labels)
            assert not graph.scores[image, count:].any()


def test_the_best_candidates_are_compared_and_those_as_good_as_the_last_of_them() -> None:
    """Disjoint boxes: of scores 0.9, 0.8, 0.8, 0.7 and one that is no number, two and the equal ones stay."""
    low = torch.arange(5.0).view(1, 5, 1) * 10
    boxes = torch.cat([low, low, low + 5, low + 5], 2)
    scores = torch.tensor([[[0.7], [0.8], [torch.nan], [0.9], [0.8]]])
    detector = head()
    detector.most_candidates = 2
    (found,) = detector.select(Candidates(boxes, scores), SIZE, least_score=0.1, most=100)
    assert found.boxes[:, 0].tolist() == [30, 10, 40]


def test_more_detections_may_be_asked_for_than_a_graph_compares() -> None:
    graph = head().select_in_graph(
        Candidates(torch.tensor([[[0.0, 0, 9, 9]]]), torch.tensor([[[0.7]]])), SIZE, most=600
    )
    assert graph.scores.shape == (1, 600)
    assert graph.scores.sum() == torch.tensor(0.7)


def test_equal_scores_of_zero_keep_their_order_and_the_smallest_number_is_above_them() -> None:
    least = 2.0**-149
    assert ranked_in_graph(torch.tensor([[0.0, -1, 0, least, 0, -least]]), 5)[1].tolist() == [[3, 0, 2, 4, 5]]


def objects(*boxes: list[float]) -> Objects:
    labels = torch.ones(len(boxes), dtype=torch.int64)
    return Objects(torch.tensor(boxes).view(-1, 4), labels, torch.zeros(len(boxes), dtype=torch.bool))


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("truth", [[objects(), objects()], [objects(), objects([5.0, 5, 5.001, 60])]])
def test_every_parameter_has_a_finite_gradient_without_objects_and_of_an_object_as_thin_as_none(
    kind: Any, truth: list[Objects]
) -> None:
    """A parameter without one makes the other processes of a training wait for ever."""
    torch.manual_seed(0)
    detector = kind([3], [8], 2, width=8).train()
    losses = detector.losses([torch.rand(2, 3, 8, 9)], (64, 72), truth)
    torch.stack([*losses.values()]).sum().backward()
    assert [name for name, p in detector.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("kind", HEADS)
def test_bfloat16_rounds_neither_boxes_nor_what_they_learn(kind: Any) -> None:
    """All parameters are 0, so that boxes and losses depend on the places of cells and anchors alone: at 2,060 px
    bfloat16 has every 16th number.
    """
    detector = kind([3], [8], 2, width=8)
    for parameter in detector.parameters():
        torch.nn.init.zeros_(parameter)
    maps, size, truth = [torch.zeros(1, 3, 2, 260)], (16, 2080), [objects([2043.0, 1, 2061, 15], [3, 2, 20, 12])]
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)  # of samples
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16), torch.no_grad():
            found[dtype] = detector.eval()(maps, size), detector.train().losses(maps, size, truth)
    detector.to(torch.bfloat16)
    (expected, losses), (candidates, of_autocast) = found.values()
    for each in (candidates, detector.eval()([maps[0].bfloat16()], size)):
        assert (each.boxes.dtype, each.scores.dtype) == (torch.float32, torch.float32)
        assert torch.equal(each.boxes, expected.boxes)
    assert {name: float(loss) for name, loss in of_autocast.items()} == pytest.approx(
        {name: float(loss) for name, loss in losses.items()}, rel=1e-5
    )
