import numpy as np
import pytest

from visiontasks.outputs.box_fusion import Boxes, fuse, ious


def found(*rows: tuple[list[float], float, int]) -> Boxes:
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    return boxes, np.array([score for _, score, _ in rows], np.float32), np.array([k for _, _, k in rows], np.int64)


def test_iou_of_each_pair_by_hand() -> None:
    first = np.array([[0, 0, 2, 2], [5, 5, 5, 5]])
    second = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [9, 9, 10, 10]])
    assert ious(first, second).tolist() == [[pytest.approx(1 / 3), 1, 0], [0, 0, 0]]


def test_boxes_of_two_networks_become_their_mean_weighted_by_the_scores() -> None:
    boxes, scores, labels = fuse([found(([0, 0, 10, 10], 0.9, 1)), found(([2, 0, 12, 10], 0.3, 1))])
    assert boxes.tolist() == [pytest.approx([0.5, 0, 10.5, 10])]
    assert scores.tolist() == pytest.approx([0.6])
    assert labels.tolist() == [1]
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)


def test_what_one_network_of_two_found_has_half_its_score() -> None:
    boxes, scores, _ = fuse(
        [found(([0, 0, 10, 10], 0.8, 0), ([50, 50, 60, 60], 0.6, 0)), found(([0, 0, 10, 10], 0.8, 0))]
    )
    assert boxes.tolist() == [[0, 0, 10, 10], [50, 50, 60, 60]]
    assert scores.tolist() == pytest.approx([0.8, 0.3])


def test_classes_are_not_fused() -> None:
    _, scores, labels = fuse([found(([0, 0, 10, 10], 0.8, 0)), found(([0, 0, 10, 10], 0.6, 1))])
    assert (labels.tolist(), scores.tolist()) == ([0, 1], pytest.approx([0.4, 0.3]))


def test_more_boxes_than_networks_count_as_many_as_these() -> None:
    """Three boxes of one network on one object: their mean score, and not three times it."""
    _, scores, _ = fuse([found(*[([0.0, 0, 10, 10], 0.6, 0)] * 3)])
    assert scores.tolist() == pytest.approx([0.6])


def test_no_box_at_all() -> None:
    boxes, scores, labels = fuse([found(), found()])
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))
