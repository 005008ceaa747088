"""Learning curves and their continuation."""

import numpy as np
import pytest

from visiontasks.errors import InputError
from visiontasks.study.features import Features
from visiontasks.study.how_much_data import forecast_accuracy, study_amount


def clouds(n: int, distance: float) -> Features:
    draw = np.random.default_rng(0)
    labels, rows = np.arange(n) % 2, np.arange(n)
    vectors = draw.normal(size=(n, 20)).astype(np.float32)
    vectors[:, 0] += distance * labels
    return Features(vectors, labels, np.full(n, "train"), rows, [""] * n, rows, ["cat", "dog"])


def test_a_power_law_goes_on() -> None:
    """An error of 0.1 + 3 / sqrt(n) is 0.4, 0.3121, 0.25 with 100, 200, 400 images, and 0.2061 with 800."""
    middle, low, high = forecast_accuracy([100, 200, 400], [6000, 6879, 7500], 10_000, 800)
    assert middle == pytest.approx(0.7939, abs=0.01)
    assert low < 0.7939 < high
    assert high - low < 0.06


def test_a_flat_curve_stays_flat() -> None:
    middle, low, high = forecast_accuracy([100, 200, 400], [9000, 9000, 9000], 10_000, 800)
    assert middle == pytest.approx(0.9, abs=0.01)
    assert low < 0.905
    assert high < 0.92


def test_few_judged_images_give_a_wide_interval() -> None:
    few = forecast_accuracy([100, 200, 400], [30, 40, 45], 50, 800)
    many = forecast_accuracy([100, 200, 400], [3000, 4000, 4500], 5000, 800)
    assert few[2] - few[1] > 2 * (many[2] - many[1])


def test_points_grow_and_all_images_are_judged_at_each() -> None:
    study = study_amount(clouds(200, 1.5))
    assert [round(point.images) for point in study.points] == [20, 40, 80, 160]
    assert study.n == 200
    assert study.counts == [100, 100]
    assert all(sum(point.right) == round(200 * point.accuracy) for point in study.points)
    assert study.points[-1].accuracy > study.points[0].accuracy - 0.1
    assert [forecast.images for forecast in study.forecasts] == [320, 640]
    assert all(forecast.low <= forecast.accuracy <= forecast.high for forecast in study.forecasts)


def test_too_few_images_are_refused_with_the_number_that_is_needed() -> None:
    """Two classes: a quarter of 4/5 of the images has to hold 4, so 20 are needed."""
    with pytest.raises(InputError, match="2 classes needs 20 images or more, got 16"):
        study_amount(clouds(16, 3.0))
    assert len(study_amount(clouds(20, 3.0)).points) == 3
