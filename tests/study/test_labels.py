"""How many labels are wrong, and which."""

import numpy as np
import pytest

from visiontasks.study.crossfit import softmax
from visiontasks.study.features import Features
from visiontasks.study.labels import WrongLabels, estimate_wrong, study_labels


def drawn(n: int, num_classes: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, (n, K), and a class for each image that is drawn from them."""
    draw = np.random.default_rng(0)
    probabilities = softmax(sharpness * draw.normal(size=(n, num_classes)))
    return probabilities, (probabilities.cumsum(1) > draw.random((n, 1))).argmax(1)


@pytest.mark.parametrize("weighed", [4000, 200])
def test_labels_that_differ_where_heads_are_sure_are_counted(weighed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads claim logits of 4 to 14, and 20 labels of 400 are not what they predict, as often where they are surest."""
    monkeypatch.setattr("visiontasks.study.labels.MOST_WEIGHED", weighed)
    n = 400
    labels, logits = np.arange(n) % 2, np.zeros((n, 2))
    logits[np.arange(n), labels] = np.linspace(4, 14, n)
    labels[::20] = 1 - labels[::20]
    found = estimate_wrong(softmax(logits), labels)
    assert found.low <= 20 <= found.high
    assert 18 <= found.count <= 21


def test_mistakes_that_heads_expect_are_not_taken_for_wrong_labels() -> None:
    """Of 1,000 labels that are drawn from what heads claim, more than 300 are not what they predict."""
    probabilities, labels = drawn(1000, 4, 2.0)
    assert (probabilities.argmax(1) != labels).sum() > 300
    found = estimate_wrong(probabilities, labels)
    assert found.low == 0
    assert found.count < 20


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_heads_may_be_too_sure_or_not_sure_enough(power: float) -> None:
    """100 of 1,000 labels are moved on to the next class; heads claim another sharpness than they have."""
    probabilities, labels = drawn(1000, 4, 6.0)
    labels[::10] = (labels[::10] + 1) % 4
    found = estimate_wrong(softmax(power * np.log(probabilities)), labels)
    assert found.low <= 100 <= found.high
    assert found.high - found.low < 80


def test_weaker_heads_give_a_wider_interval() -> None:
    widths = []
    for sharpness in (2.0, 8.0):
        probabilities, labels = drawn(1000, 4, sharpness)
        labels[::20] = (labels[::20] + 1) % 4
        found = estimate_wrong(probabilities, labels)
        assert found.low <= 50 <= found.high
        widths.append(found.high - found.low)
    assert widths[0] > 2 * widths[1]


def test_one_class_has_no_wrong_label() -> None:
    assert estimate_wrong(np.ones((30, 1)), np.zeros(30, dtype=np.int64)) == WrongLabels(0, 0, 0)


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
    assert study.wrong.low <= 4 <= study.wrong.high
    first = study.suspects[0]
    assert first.p_label < 0.05 < 0.95 < first.p_predicted
    assert first.p_label + first.p_predicted == pytest.approx(1)
