"""Photographs from where a network is used against validation images."""

from functools import cache

import numpy as np
import pytest

from visiontasks.errors import InputError
from visiontasks.study.field import Answers, Calibration, FieldStudy, Seen, answers_of, calibrate, study_field

KINDS = ["a", "a", "b", "b", "c", "c"]


def spread(n: int, mean: float, *, seed: int = 0) -> np.ndarray:
    """Probabilities of two classes whose highest are around a mean."""
    first = np.clip(mean + np.random.default_rng(seed).normal(scale=0.05, size=n), 0.5, 1)
    return np.stack([first, 1 - first], 1).astype(np.float32)


def said(probabilities: np.ndarray, *, distance: float = 0.2) -> Answers:
    """Answers that all agree, at one distance."""
    n = len(probabilities)
    return Answers(probabilities, np.full(n, distance, np.float32), np.ones(n, dtype=bool))


def made() -> tuple[Answers, list[Answers], np.ndarray]:
    """400 images of one class; made worse, accuracy falls by exactly twice as much as the mean confidence."""
    n, labels = 400, np.zeros(400, np.int64)
    clean = spread(n, 0.95)
    clean[:20] = clean[:20, ::-1]  # 5 % wrong
    worse = []
    for i, fall in enumerate((0.05, 0.1, 0.04, 0.12, 0.06, 0.14)):
        each = spread(n, 0.95 - fall, seed=i + 1)
        each[:, 0] += (clean.max(1).mean() - fall) - each.max(1).mean()  # exactly so far below
        each[:, 1] = 1 - each[:, 0]
        wrong = 20 + round(2 * fall * n)
        each[:wrong] = each[:wrong, ::-1]
        worse.append(said(each))
    return said(clean), worse, labels


def test_a_fall_in_proportion_to_confidence_is_learned() -> None:
    clean, worse, labels = made()
    found = calibrate(clean, worse, labels, KINDS)
    assert found.error < 0.01
    assert found.ways == 6
    assert found.weights == pytest.approx([2, 0, 0], abs=0.1)
    new = said(spread(400, 0.87, seed=99))
    forecast = found.forecast(new, 0.95, 400)
    expected = 0.95 - 2 * (clean.probabilities.max(1).mean() - new.probabilities.max(1).mean())
    assert forecast.accuracy == pytest.approx(expected, abs=0.015)
    assert forecast.low < forecast.accuracy < forecast.high
    assert forecast.high - forecast.low < 0.1


def test_distance_tells_what_confidence_does_not() -> None:
    """Confidence stays; each tenth of distance more costs five points."""
    clean, _, labels = made()
    worse = []
    for i in range(6):
        each = clean.probabilities.copy()
        each[20 : 40 + 20 * i] = each[20 : 40 + 20 * i, ::-1]
        worse.append(said(each, distance=0.2 * (1 + 0.1 * (i + 1))))
    found = calibrate(clean, worse, labels, KINDS)
    assert found.weights == pytest.approx([0, 0, 0.5], abs=0.01)
    assert found.forecast(said(clean.probabilities, distance=0.25), 0.95, 400).accuracy == pytest.approx(0.825)


def test_what_nothing_shows_widens_the_interval() -> None:
    """Of the last kind, accuracy falls by 40 points and nothing else changes."""
    clean, worse, labels = made()
    blind = clean.probabilities.copy()
    blind[20:180] = blind[20:180, ::-1]
    usual = calibrate(clean, worse, labels, KINDS)
    other = calibrate(clean, [*worse, said(blind)], labels, [*KINDS, "d"])
    assert other.error == pytest.approx((6 * usual.error + 0.4) / 7, abs=0.02)
    narrow, wide = (each.forecast(said(spread(400, 0.9)), 0.95, 400) for each in (usual, other))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_nearest_training_images_vote() -> None:
    """Of seven neighbours four are dogs; the nearest, a cat, is at distance 0."""
    angles = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 3.0])
    train = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    labels = np.array([0, 1, 1, 1, 1, 0, 0, 0])
    image = np.array([[2.0, 0.0]], np.float32)
    for predicted, agrees in ((0, False), (1, True)):
        probabilities = np.eye(2, dtype=np.float32)[[predicted]]
        answers = answers_of(probabilities, image, train, labels)
        assert (answers.distances.tolist(), answers.agrees.tolist()) == ([0.0], [agrees])


def test_on_clean_images_the_forecast_is_the_accuracy_itself() -> None:
    clean, worse, labels = made()
    found = calibrate(clean, worse, labels, KINDS)
    forecast = found.forecast(clean, 0.95, 400)
    assert forecast.accuracy == pytest.approx(0.95)
    assert forecast.low < 0.93
    assert forecast.high > 0.96


def seen(n: int, *, seed: int, light: float = 0.0, first: float = 0.5) -> Seen:
    draw = np.random.default_rng(seed)
    probabilities = spread(n, 0.9, seed=seed)
    other = draw.uniform(size=n) >= first
    probabilities[other] = probabilities[other, ::-1]
    measures = {name: draw.normal(size=n).astype(np.float32) for name in ("light", "noise", "sharpness")}
    measures["light"] += light
    return Seen(said(probabilities), measures)


@cache
def calibration() -> Calibration:
    clean, worse, labels = made()
    return calibrate(clean, worse, labels, KINDS)


def studied(clean: Seen, field: Seen) -> FieldStudy:
    return study_field(clean, clean.answers.probabilities.argmax(1), calibration(), field, ["cat", "dog"])


def test_a_measure_that_differs_is_named_first() -> None:
    """Means 1 apart at deviation 1: a photograph is lighter with probability Phi(1 / sqrt 2) = 0.76."""
    study = studied(seen(400, seed=1), seen(200, seed=2, light=1.0))
    first, *others = study.differences
    assert first.name == "light"
    assert first.p < 1e-6
    assert first.low < 0.76 < first.high
    assert first.high - first.low < 0.1
    assert all(each.p > 0.05 for each in others)
    assert study.differs


def test_another_mix_of_predicted_classes_is_seen() -> None:
    study = studied(seen(400, seed=1), seen(200, seed=2, first=0.9))
    assert study.p_classes < 0.01
    share = study.shares[0]
    assert share.name == "cat"
    assert share.low < 0.9 < share.high


def test_false_alarms_are_one_in_twenty_at_most() -> None:
    """Of 50 pairs from one distribution 5 % are 2.5; up to 7 are within chance (binomial, 99.5 %)."""
    alarms = [studied(seen(60, seed=2 * i), seen(50, seed=2 * i + 1)).differs for i in range(50)]
    assert sum(alarms) <= 7


def test_too_few_images_are_told() -> None:
    with pytest.raises(InputError, match="a comparison needs 30 validation images, got 29"):
        studied(seen(29, seed=0), seen(50, seed=1))
    with pytest.raises(InputError, match="a comparison needs 10 photographs, got 9"):
        studied(seen(30, seed=0), seen(9, seed=1))
