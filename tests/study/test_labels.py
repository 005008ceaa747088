"""How many labels are wrong, and which."""

import numpy as np
import pytest

from visiontasks.study.features import Features
from visiontasks.study.labels import estimate_wrong, study_labels


def certain(labels: np.ndarray, wrong: list[int], confidence: np.ndarray) -> np.ndarray:
    """Probabilities of two classes that say the label, and the other class for the rows of `wrong`."""
    predicted = labels.copy()
    predicted[wrong] = 1 - predicted[wrong]
    probabilities = np.empty((len(labels), 2))
    probabilities[np.arange(len(labels)), predicted] = confidence
    probabilities[np.arange(len(labels)), 1 - predicted] = 1 - confidence
    return probabilities


def test_the_share_among_the_surest_is_taken_for_all() -> None:
    """400 images, 5 wrong in each quarter: three quarters are judged, 15 of 300, which is 20 of 400."""
    labels, confidence = np.arange(400) % 2, np.linspace(0.999, 0.6, 400)
    wrong = [quarter * 100 + 10 * i for quarter in range(4) for i in range(5)]
    found = estimate_wrong(certain(labels, wrong, confidence), labels)
    assert found is not None
    assert (found.count, found.judged, found.disagreeing) == (20, 300, 15)
    assert found.low == 16  # 15 that were seen, and at least 1 of the 100 others
    assert 22 <= found.high <= 28


def test_hard_images_are_not_taken_for_wrong_labels() -> None:
    """In the least sure half, half of the predictions differ: they are not judged."""
    labels, confidence = np.arange(400) % 2, np.linspace(0.999, 0.51, 400)
    wrong = [10, 110, *range(200, 400, 2)]
    found = estimate_wrong(certain(labels, wrong, confidence), labels)
    assert found is not None
    assert (found.count, found.judged, found.disagreeing) == (4, 200, 2)


def test_too_few_images_give_no_estimate() -> None:
    labels = np.arange(79) % 2
    assert estimate_wrong(certain(labels, [], np.full(79, 0.9)), labels) is None


def test_flipped_labels_come_first() -> None:
    draw = np.random.default_rng(0)
    true = np.arange(200) % 2
    vectors = draw.normal(size=(200, 4)).astype(np.float32)
    vectors[:, 0] += 8 * true
    labels, flipped = true.copy(), [3, 50, 121, 180]
    labels[flipped] = 1 - labels[flipped]
    rows = np.arange(200)
    features = Features(vectors, labels, np.full(200, "train"), rows, [""] * 200, rows, ["cat", "dog"])
    study = study_labels(features)
    assert sorted(each.row for each in study.suspects) == flipped
    assert [each.name for each in study.suspects if each.row == 3] == ["train 3"]
    assert study.agreeing == 196
    assert study.wrong is not None
    assert study.wrong.low <= 4 <= study.wrong.high
    first = study.suspects[0]
    assert first.p_label < 0.05 < 0.95 < first.p_predicted
    assert first.p_label + first.p_predicted == pytest.approx(1)
