import torch

from visiontasks.heads import DetectionHead
from visiontasks.heads.detection import Candidates, ranked_in_graph

SIZE = (100, 100)


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
