import numpy as np

from visiontasks.tasks.metrics.box_matching import Detected, Matches, Truths, match
from visiontasks.tasks.metrics.detection_errors import confusion_at, errors_at, missed_and_invented
from visiontasks.tasks.metrics.precision_recall import image_f1


def matched(detected: list[tuple[int, list[float], float]], true: list[tuple[int, list[float]]]) -> Matches:
    """One image: (class, box, score) and (class, box)."""
    n, m = len(detected), len(true)
    return match(
        Detected(
            np.zeros(n, np.int64),
            np.array([label for label, _, _ in detected], np.int64),
            np.array([score for _, _, score in detected], np.float64),
            np.array([box for _, box, _ in detected], np.float64).reshape(-1, 4),
        ),
        Truths(
            np.zeros(m, np.int64),
            np.array([label for label, _ in true], np.int64),
            np.array([box for _, box in true], np.float64).reshape(-1, 4),
            np.zeros(m, np.bool_),
            np.full(m, 100.0),
        ),
        num_images=1,
        num_classes=2,
    )


HERE, THERE, ELSEWHERE = [0.0, 0, 10, 10], [50.0, 50, 60, 60], [90.0, 90, 99, 99]
NEAR = [0.0, 0, 10, 30]  # IoU of 1/3 with HERE


def test_each_kind_of_error() -> None:
    cases = {
        "class": [(1, HERE, 0.9)],
        "place": [(0, NEAR, 0.9)],
        "class_and_place": [(1, NEAR, 0.9)],
        "duplicate": [(0, HERE, 0.9), (0, HERE, 0.8)],
        "background": [(0, ELSEWHERE, 0.9)],
    }
    for kind, detected in cases.items():
        counts = errors_at(matched(detected, [(0, HERE)]), 0.5).counts
        assert counts.pop(kind) == 1
        missed = 1 if kind in ("class_and_place", "background") else 0
        assert counts.pop("missed") == missed
        assert not any(counts.values())


def test_nothing_below_the_threshold_counts() -> None:
    found = errors_at(matched([(0, HERE, 0.4), (0, ELSEWHERE, 0.3)], [(0, HERE)]), 0.5)
    assert found.counts["missed"] == 1
    assert sum(found.counts.values()) == 1


def test_confusion_counts_missed_and_invented_and_the_class_an_object_is_taken_for() -> None:
    matches = matched([(0, HERE, 0.9), (1, THERE, 0.8), (1, ELSEWHERE, 0.7)], [(0, HERE), (0, THERE), (1, NEAR)])
    assert confusion_at(matches, 0.5).tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]
    is_missed, is_invented = missed_and_invented(matches, 0.5)
    assert (is_missed.sum(), is_invented.sum()) == (2, 2)


def test_f1_of_an_image_and_of_one_with_nothing() -> None:
    assert image_f1(matched([(0, HERE, 0.9), (0, ELSEWHERE, 0.9)], [(0, HERE), (1, THERE)]), 0.5).tolist() == [0.5]
    assert image_f1(matched([], []), 0.5).tolist() == [1]
    assert image_f1(matched([(0, HERE, 0.9)], []), 0.5).tolist() == [0]
